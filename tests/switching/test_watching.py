"""Watching a service while it is switched: the watcher goes on at the new backend, told to read again, and misses nothing."""

from __future__ import annotations

import asyncio
from itertools import permutations

import pytest
from tests.patience import PATIENCE
from tests.switching.test_switching import ADMIN, app, real_api

from interlock.app import App
from interlock.contract import Change, Identity
from interlock.services import Services

__all__ = ["app", "real_api"]

pytestmark = pytest.mark.anyio

OTHER = Identity("01900000-0000-7000-8000-0000000000bb", "01900000-0000-7000-8000-0000000000ba", "admin")
PAIRS = tuple(permutations(("mock", "sql", "real"), 2))


class Watched:
    """The changes of customers, read one at a time."""

    def __init__(self, crm: Services, after: str | None = None) -> None:
        self.crm = crm
        self.stream = crm.customers.changes(after)
        self.seen: list[Change] = []

    async def next(self) -> Change:
        async with asyncio.timeout(PATIENCE):
            self.seen.append(await anext(self.stream))
        return self.seen[-1]

    async def until(self, record_id: str) -> None:
        while (await self.next()).record_id != record_id:
            pass


@pytest.mark.parametrize(("old", "new"), PAIRS)
async def test_a_watcher_misses_nothing_over_a_switch_and_back(app: App, old: str, new: str) -> None:
    await app.switch("customers", old, ADMIN)
    crm, theirs = app.services(ADMIN), app.services(OTHER)
    watch = Watched(crm, "start")
    assert (await watch.next()).kind == "resync"
    for target in (old, new, old):
        if target != app.router.route("customers").backend_name:
            step = asyncio.ensure_future(watch.next())
            await app.switch("customers", target, ADMIN)
            while (await step).kind != "resync":
                step = asyncio.ensure_future(watch.next())
        # What the caller reads now, and what they are told from here on, is everything.
        await theirs.customers.create(company_name="Theirs")
        row = await crm.customers.create(company_name=f"On {target}")
        await watch.until(row.id)
        assert watch.seen[-1].row == row
    assert {change.row.tenant_id for change in watch.seen if change.row is not None} == {ADMIN.tenant_id}
    await watch.stream.aclose()


@pytest.mark.parametrize("old", ["sql", "real"])
async def test_a_watcher_who_stopped_reading_keeps_no_backend_alive(app: App, old: str) -> None:
    await app.switch("customers", old, ADMIN)
    crm = app.services(ADMIN)
    watch = Watched(crm, "start")
    assert (await watch.next()).kind == "resync"
    first = await crm.customers.create(company_name="First")
    await watch.until(first.id)
    replaced = app.router.route("customers")
    await app.switch("customers", "mock", ADMIN)
    async with asyncio.timeout(PATIENCE):
        await replaced.drained()
        await asyncio.gather(*app._tasks)
    assert old not in {mount.name for mount in app._mounts}
    assert (await watch.next()).kind == "resync"
    row = await crm.customers.create(company_name="Here")
    await watch.until(row.id)
    await watch.stream.aclose()


async def test_a_watch_ends_when_the_application_closes(app: App) -> None:
    watch = Watched(app.services(ADMIN), "start")
    await watch.next()
    step = asyncio.ensure_future(watch.next())
    await asyncio.sleep(0)
    await app.aclose()
    with pytest.raises(StopAsyncIteration):
        await step


@pytest.mark.parametrize("backend", ["mock", "sql", "real"])
async def test_a_watch_leaves_no_task_behind(app: App, backend: str) -> None:
    await app.switch("customers", backend, ADMIN)
    crm = app.services(ADMIN)
    before = asyncio.all_tasks()
    watch = Watched(crm, "start")
    await watch.next()
    row = await crm.customers.create(company_name="Acme")
    await watch.until(row.id)
    await watch.stream.aclose()
    left = {task for task in asyncio.all_tasks() - before if "retired" in repr(task) or "asend" in repr(task)}
    if left:  # the gateway of this process, which has yet to see that the caller went
        assert backend == "real"
        assert not (await asyncio.wait(left, timeout=PATIENCE))[1]
