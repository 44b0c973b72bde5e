"""Watching: every accepted write of the tenant, once, in the order of each record's versions."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import msgspec

from interlock.abilities import Subscribes
from interlock.contract import Change
from interlock.entity import Entity
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller
from interlock.testing.samples import LEDGER, SAMPLES

__all__ = ["ChangesConformance", "Watch"]

PATIENCE = 20.0
"""Seconds after which a change that has not come never will."""


class Watch:
    """Somebody watching from the moment that the `async with` is entered.

    A stream is live at some moment after it is asked for, so records are written (and passed over) until the first of them arrives.
    """

    def __init__(self, caller: Caller, *, beacons: bool = True, after: str | None = None) -> None:
        self.caller = caller
        self.after = after
        self.beacons: set[str] | None = set() if beacons else None
        self._arrived: asyncio.Queue[Change] = asyncio.Queue()
        self._reading: asyncio.Task[None] | None = None
        self.last = ""

    async def _read(self) -> None:
        stream = self.caller.subject.ability(Subscribes).changes(SAMPLES.resource, self.caller.identity, self.after)
        async for change in stream:
            self.last = change.position
            await self._arrived.put(change)

    async def __aenter__(self) -> Self:
        self._reading = asyncio.create_task(self._read())
        if self.beacons is not None:
            async with asyncio.timeout(PATIENCE):
                while self._arrived.empty():
                    self.beacons.add((await self.caller.add(SAMPLES, label="beacon")).id)
                    await asyncio.wait({self._reading}, timeout=0.02)
                    if self._reading.done():
                        self._reading.result()
                        raise AssertionError("the stream of changes ended by itself")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    async def take(self, count: int) -> list[Change]:
        """The next changes that are not of beacons."""
        found: list[Change] = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < count:
                change = await self._arrived.get()
                if change.record_id not in (self.beacons or ()):
                    found.append(change)
        return found


class ChangesConformance(Suite):
    """For backends with the ability `Subscribes`."""

    async def test_changes_tell_of_every_accepted_write_in_order(self, caller: Caller) -> None:
        async with Watch(caller) as watch:
            row = await caller.add(SAMPLES, label="x", amount="1.5", marks=("a",))
            changed = await caller.change(row, SAMPLES, rank=1)
            gone = await caller.remove(row, SAMPLES)
            await caller.restore(SAMPLES, row.id)
            found = await watch.take(4)
            back = await caller.one(SAMPLES, row.id)
        assert [change.kind for change in found] == ["created", "updated", "deleted", "restored"]
        assert [change.version for change in found] == [1, 2, 3, 4]
        assert {(change.resource, change.record_id) for change in found} == {("samples", row.id)}
        assert found[0].row in (row, changed, gone, back), "a row may be newer than its change"
        assert found[3].row == back

    async def test_changes_are_of_one_tenant(self, caller: Caller) -> None:
        async with Watch(caller) as watch:
            await caller.elsewhere().add(SAMPLES, label="theirs")
            mine = await caller.add(SAMPLES, label="mine")
            (change,) = await watch.take(1)
        assert change.record_id == mine.id
        assert change.row.tenant_id == caller.identity.tenant_id

    async def test_changes_are_of_one_resource(self, caller: Caller) -> None:
        async with Watch(caller) as watch:
            await caller.add(LEDGER, text="other")
            mine = await caller.add(SAMPLES, label="mine")
            (change,) = await watch.take(1)
        assert change.record_id == mine.id

    async def test_changes_do_not_tell_of_what_was_not_written(self, caller: Caller) -> None:
        async with Watch(caller) as watch:
            row = await caller.add(SAMPLES, label="x", code="1")
            operation = new_id()
            await caller.update(SAMPLES, row.id, {"rank": 1}, expected_version=9)
            await caller.create(SAMPLES, [{"label": "y", "code": "1"}])
            await caller.change(row, SAMPLES, label="x")
            for _ in range(2):
                await caller.update(SAMPLES, row.id, {"rank": 2}, operation_id=operation)
            last = await caller.add(SAMPLES, label="last")
            found = await watch.take(3)
        assert [(change.kind, change.record_id) for change in found] == [
            ("created", row.id),
            ("updated", row.id),
            ("created", last.id),
        ]

    async def test_changes_tell_of_each_item_of_a_bulk_write(self, caller: Caller) -> None:
        async with Watch(caller) as watch:
            rows = await caller.add_all(SAMPLES, *({"label": str(n)} for n in range(40)))
            ids = [row.id for row in rows]
            await caller.delete(SAMPLES, [*ids, new_id()])
            found = await watch.take(80)
        assert {change.record_id for change in found[:40]} == set(ids)
        assert {change.record_id for change in found[40:]} == set(ids)
        assert {change.kind for change in found[:40]} == {"created"}
        assert {change.kind for change in found[40:]} == {"deleted"}

    async def test_every_watcher_is_told(self, caller: Caller) -> None:
        async with Watch(caller) as one, Watch(caller) as two:
            row = await caller.add(SAMPLES, label="x")
            passed = (one.beacons or set()) | (two.beacons or set())
            one.beacons = two.beacons = passed
            found = [*await one.take(1), *await two.take(1)]
        assert [change.record_id for change in found] == [row.id, row.id]

    async def test_concurrent_writes_are_told_once_and_in_order(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        async with Watch(caller) as watch:
            await asyncio.gather(*(caller.update(SAMPLES, row.id, {"rank": n}) for n in range(12)))
            found = await watch.take(12)
        assert [change.version for change in found if change.record_id == row.id] == list(range(2, 14))

    async def test_a_watch_resumes_where_it_was(self, caller: Caller) -> None:
        async with Watch(caller) as watch:
            first = await caller.add(SAMPLES, label="seen")
            (seen,) = await watch.take(1)
        assert seen.record_id == first.id
        assert seen.position
        missed = [await caller.add(SAMPLES, label=str(n)) for n in range(3)]
        async with Watch(caller, beacons=False, after=seen.position) as watch:
            found = await watch.take(1)
            if found[0].kind != "resync":
                found += await watch.take(2)
                assert [change.record_id for change in found] == [row.id for row in missed]

    async def test_an_unknown_position_asks_to_read_again(self, caller: Caller) -> None:
        await caller.add(SAMPLES, label="x")
        async with Watch(caller, beacons=False, after="no position of ours") as watch:
            (change,) = await watch.take(1)
        assert (change.kind, change.row) == ("resync", None)

    async def test_a_slow_watcher_misses_nothing_unknowingly(self, caller: Caller) -> None:
        stream = caller.subject.ability(Subscribes).changes(SAMPLES.resource, caller.identity)
        waiting = asyncio.ensure_future(anext(stream))
        async with asyncio.timeout(PATIENCE):
            while not waiting.done():
                await caller.add(SAMPLES, label="beacon")
                await asyncio.wait({waiting}, timeout=0.02)
            for batch in range(3):
                await caller.add_all(SAMPLES, *({"label": f"{batch}-{n}"} for n in range(800)))
            last = await caller.add(SAMPLES, label="last")
            seen = [waiting.result()]
            while seen[-1].kind != "resync" and seen[-1].record_id != last.id:
                seen.append(await anext(stream))
        aclose = getattr(stream, "aclose", None)
        if aclose is not None:
            await aclose()
        if seen[-1].kind != "resync":
            total = (await caller.find(SAMPLES, count="exact", limit=1)).total
            beacons = sum(change.row is not None and change.row.label == "beacon" for change in seen)
            assert total is not None
            assert len(seen) - beacons == 2401

    async def test_a_change_survives_its_json(self, caller: Caller) -> None:
        async with Watch(caller) as watch:
            await caller.add(SAMPLES, label="x", happened_at="2026-01-01T00:00:00.000001Z")
            (change,) = await watch.take(1)
        encoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(change))
        assert set(encoded) == {"kind", "resource", "recordId", "version", "row", "position"}
        entity: Entity[Any] = SAMPLES
        assert msgspec.convert(encoded["row"], entity.record) == change.row
