"""The hub of changes: bounded, and nobody misses anything unknowingly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from tests.patience import PATIENCE

from interlock.backends.sql.changes import Hub, Notice, Watch, notices_of
from interlock.contract import Change
from interlock.identifiers import new_id

pytestmark = pytest.mark.anyio

KEY = ("t1", "customers")


async def ready() -> None:
    """Nothing to begin."""


def changes(count: int, resource: str = "customers") -> list[Change]:
    return [Change(kind="created", resource=resource, record_id=str(n), version=1) for n in range(count)]


async def given(watch: Watch, count: int) -> list[Change]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(watch) for _ in range(count)]


async def test_a_watch_has_what_came_after_it_was_asked_for() -> None:
    hub = Hub()
    hub.publish("t1", changes(1))
    watch = hub.watch(KEY, None, ready)
    hub.publish("t1", changes(2))
    hub.publish("t2", changes(3))
    hub.publish("t1", changes(4, "deals"))
    await watch.aclose()
    assert [change.record_id async for change in watch] == ["0", "1"]


async def test_a_watch_resumes_after_a_position() -> None:
    hub = Hub()
    seen = (await given(watch_and_publish(hub, changes(5)), 5))[1]
    assert [c.record_id for c in await given(hub.watch(KEY, seen.position, ready), 3)] == ["2", "3", "4"]


def watch_and_publish(hub: Hub, what: Sequence[Change]) -> Watch:
    watch = hub.watch(KEY, None, ready)
    hub.publish("t1", what)
    return watch


async def test_resuming_where_nothing_was_missed_gives_nothing() -> None:
    hub = Hub()
    last = (await given(watch_and_publish(hub, changes(2)), 2))[-1]
    watch = hub.watch(KEY, last.position, ready)
    await watch.aclose()
    assert [change async for change in watch] == []


@pytest.mark.parametrize("position", ["", "nonsense", f"{new_id()}.1"], ids=["empty", "nonsense", "of another process"])
async def test_an_unknown_position_resyncs(position: str) -> None:
    hub = Hub()
    hub.watch(KEY, None, ready)
    assert (await given(hub.watch(KEY, position, ready), 1))[0].kind == "resync"


async def test_a_position_resyncs_where_nobody_kept_the_topic() -> None:
    hub = Hub()
    deals = hub.watch(("t1", "deals"), None, ready)
    hub.publish("t1", changes(1, "deals"))
    position = (await given(deals, 1))[0].position
    assert (await given(hub.watch(KEY, position, ready), 1))[0].kind == "resync"


async def test_positions_that_are_too_old_resync() -> None:
    hub = Hub()
    first = (await given(watch_and_publish(hub, changes(1)), 1))[0]
    hub.publish("t1", changes(2000))
    assert (await given(hub.watch(KEY, first.position, ready), 1))[0].kind == "resync"


async def test_a_watch_that_is_not_read_is_one_resync() -> None:
    hub = Hub()
    watch = watch_and_publish(hub, changes(1000))
    hub.publish("t1", changes(3))
    kinds = [change.kind for change in await given(watch, 3)]
    assert kinds == ["resync", "created", "created"]


async def test_many_tenants_are_forgotten_and_those_that_watch_are_not() -> None:
    hub = Hub()
    watch = hub.watch(KEY, None, ready)
    for _ in range(3000):
        hub.watch((new_id(), "customers"), None, ready)
    hub.publish("t1", changes(1))
    assert len(await given(watch, 1)) == 1
    assert len(hub._topics) <= 1001


def test_notices_fit_into_a_notification() -> None:
    written = [Change(kind="created", resource="customers", record_id=new_id(), version=1) for _ in range(1000)]
    payloads = list(notices_of("origin", new_id(), written))
    assert all(len(payload.encode()) < 8000 for payload in payloads)
    told = [write[1] for payload in payloads for write in msgspec.json.decode(payload, type=Notice).writes]
    assert told == [change.record_id for change in written]
    assert list(notices_of("origin", "t1", [])) == []


def updated(version: int) -> Change:
    return Change(kind="updated", resource="customers", record_id="r", version=version)


async def test_news_of_two_commits_that_come_the_wrong_way_round_are_told_in_order() -> None:
    hub = Hub()
    watch = hub.watch(KEY, None, ready)
    for version in (2, 3, 4):
        hub.committing("t1", [updated(version)])
    hub.publish("t1", [updated(4)])
    hub.ended("t1", [updated(4)])
    hub.publish("t1", [updated(3)])
    hub.ended("t1", [updated(3)])
    hub.publish("t1", changes(1))
    hub.publish("t1", [updated(2)])
    hub.ended("t1", [updated(2)])
    assert [(c.record_id, c.version) for c in await given(watch, 4)] == [("0", 1), ("r", 2), ("r", 3), ("r", 4)]


async def test_a_commit_that_fails_holds_nobody_back() -> None:
    hub = Hub()
    watch = hub.watch(KEY, None, ready)
    hub.committing("t1", [updated(2)])
    hub.committing("t1", [updated(3)])
    hub.publish("t1", [updated(3)])
    hub.ended("t1", [updated(3)])
    hub.ended("t1", [updated(2)])
    hub.committing("t1", [updated(2)])
    hub.publish("t1", [updated(2)])
    hub.ended("t1", [updated(2)])
    assert [c.version for c in await given(watch, 2)] == [3, 2]
    assert not hub._committing
    assert not hub._held
