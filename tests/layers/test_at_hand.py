"""What the cache has at hand is given without waiting: to the same caller's tenant only, while it is fresh, and counted like any call."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from interlock.app import App
from interlock.backends.memory import MemoryBackend
from interlock.contract import Identity, Query, Request
from interlock.entities import ENTITIES
from interlock.entities.customer import Tag
from interlock.layers import Cache, CacheSettings
from interlock.layers.invalidation import Invalidation
from interlock.settings import Settings

pytestmark = pytest.mark.anyio

WHO = Identity("0190d2f1-0000-7000-8000-000000000001", "acme", "admin")
ID = "0190d2f1-0000-7000-8000-0000000000aa"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def get(who: Identity = WHO, *ids: str) -> Request:
    return Request("get", "tags", who, ids=ids or (ID,), epoch=1)


async def test_only_what_is_fresh_is_at_hand() -> None:
    backend, clock = MemoryBackend(ENTITIES), Clock()
    await backend.handle(Request("create", "tags", WHO, rows=(Tag(id=ID, name="x"),), operation_id="1"))
    cache = Cache(backend, CacheSettings(ttl=100, early=0.1), varies="tenant", told=Invalidation(), clock=clock)
    assert cache.at_hand(get()) is None
    answer = await cache.handle(get())
    kept = cache.at_hand(get())
    assert kept is not None
    assert (kept.rows, kept.cached, cache.hits) == (answer.rows, True, 1)
    assert cache.at_hand(get(Identity(WHO.user_id, "other", "admin"))) is None
    assert cache.at_hand(Request("find", "tags", WHO, query=Query(), epoch=1)) is None
    clock.now = 95  # between its refresh and its end `handle` is asked, and refreshes
    assert cache.at_hand(get()) is None
    await cache.aclose()


async def test_a_write_leaves_nothing_at_hand() -> None:
    backend = MemoryBackend(ENTITIES)
    await backend.handle(Request("create", "tags", WHO, rows=(Tag(id=ID, name="x"),), operation_id="1"))
    cache = Cache(backend, CacheSettings(), varies="tenant")
    await cache.handle(get())
    assert cache.at_hand(get()) is not None
    await cache.handle(
        Request("update", "tags", WHO, ids=(ID,), patch=MappingProxyType({"name": "y"}), operation_id="2")
    )
    assert cache.at_hand(get()) is None
    answer = await cache.handle(get())
    assert answer.rows[0].name == "y"


async def test_a_hit_of_a_service_is_counted(tmp_path: Path) -> None:
    app = await App.open(Settings(api_mode="mock", home=tmp_path, environment="production", cache=True))
    crm = app.services(WHO)
    made = await crm.customers.create(company_name="A", email="a@example.com")
    first = await crm.customers.get(made.id)
    route = crm.route("customers")
    assert route.at_hand is not None
    before = _calls(app)
    assert await crm.customers.get(made.id) == first
    assert _calls(app) == before + 1
    assert [one.cache_hits for one in app.get_metrics().routes if one.service == "customers"] == [1]
    await app.aclose()


async def test_where_calls_are_logged_they_all_go_the_same_way(tmp_path: Path) -> None:
    app = await App.open(Settings(api_mode="mock", home=tmp_path, environment="production", cache=True, log_calls=True))
    assert app.router.route("customers").at_hand is None
    await app.aclose()


def _calls(app: App) -> int:
    return sum(one.calls for one in app.get_metrics().calls if (one.service, one.operation) == ("customers", "get"))
