"""Nothing is kept of some services; what they write ends what is kept of the trail."""

from __future__ import annotations

import pytest

from interlock.backends.memory import MemoryBackend
from interlock.contract import Identity, Query, Request
from interlock.entities import ENTITIES
from interlock.entities.customer import Tag
from interlock.errors import OutcomeUnknown
from interlock.identifiers import new_id
from interlock.layers import Cache, CacheSettings
from interlock.layers.invalidation import Invalidation
from interlock.layers.telling import Telling

pytestmark = pytest.mark.anyio

ME = Identity(new_id(), "t", "admin")
ENTRIES = Request("find", "audit", ME, query=Query())


def create() -> Request:
    return Request("create", "tags", ME, rows=(Tag(id=new_id(), name=new_id()),), operation_id=new_id())


async def test_a_write_ends_what_is_kept_of_the_trail() -> None:
    memory, told = MemoryBackend(ENTITIES), Invalidation()
    trail, beside = Cache(memory, CacheSettings(), told=told), Telling(memory, told)
    assert [(await trail.handle(ENTRIES)).cached for _ in range(2)] == [False, True]
    await beside.handle(create())
    assert len((await trail.handle(ENTRIES)).rows) == 1
    assert not (await beside.handle(ENTRIES)).cached


async def test_a_write_of_unknown_outcome_lets_nothing_be_kept() -> None:
    memory, told = MemoryBackend(ENTITIES), Invalidation()

    class Lost:
        async def handle(self, request: Request) -> object:
            raise OutcomeUnknown(request.operation_id)

    trail, beside = Cache(memory, CacheSettings(), told=told), Telling(Lost(), told)  # type: ignore[arg-type]  # it never answers
    with pytest.raises(OutcomeUnknown):
        await beside.handle(create())
    assert [(await trail.handle(ENTRIES)).cached for _ in range(2)] == [False, False]
