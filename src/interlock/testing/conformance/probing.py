"""Probes, closing, and handing on the audit trail."""

from __future__ import annotations

import asyncio

import msgspec

from interlock.abilities import ForwardsAudit, Probes
from interlock.contract import Record
from interlock.entities import AUDIT, AuditEntry
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller, Subject
from interlock.testing.samples import SAMPLES

__all__ = ["ForwardingConformance", "ProbesConformance"]


class ProbesConformance(Suite):
    """For backends with the ability `Probes`."""

    async def test_a_probe_finds_the_backend_well(self, subject: Subject) -> None:
        health = await subject.ability(Probes).probe()
        assert health.healthy, health.detail
        assert 0 <= health.latency < 60

    async def test_probes_run_at_the_same_time(self, subject: Subject) -> None:
        found = await asyncio.gather(*(subject.ability(Probes).probe(10.0) for _ in range(5)))
        assert all(health.healthy for health in found)


class ForwardingConformance(Suite):
    """For backends with the ability `ForwardsAudit`."""

    async def _pending(self, caller: Caller) -> list[Record]:
        """What waits of this tenant: others' entries may wait too."""
        found = await caller.subject.ability(ForwardsAudit).pending_audit(1_000_000)
        return [entry for entry in found if entry.tenant_id == caller.identity.tenant_id]

    async def test_entries_wait_until_they_are_acknowledged(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        await caller.change(row, SAMPLES, rank=1)
        waiting = await self._pending(caller)
        assert [entry.action for entry in waiting if isinstance(entry, AuditEntry)] == ["create", "update"]
        assert waiting == await self._pending(caller), "asking takes nothing away"
        store = caller.subject.ability(ForwardsAudit)
        await store.acknowledge_audit([waiting[0].id])
        assert await self._pending(caller) == waiting[1:]
        await store.acknowledge_audit([entry.id for entry in waiting])
        assert await self._pending(caller) == []

    async def test_the_oldest_come_first_and_no_more_than_asked(self, caller: Caller) -> None:
        rows = [await caller.add(SAMPLES, label=str(n)) for n in range(3)]
        waiting = await self._pending(caller)
        assert [entry.record_id for entry in waiting if isinstance(entry, AuditEntry)] == [row.id for row in rows]
        assert len(await caller.subject.ability(ForwardsAudit).pending_audit(2)) == 2

    async def test_rejected_writes_leave_nothing_to_forward(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        await caller.update(SAMPLES, row.id, {"rank": 1}, expected_version=9)
        await caller.change(row, SAMPLES, label="x")
        assert len(await self._pending(caller)) == 1

    async def test_what_was_put_is_not_forwarded(self, caller: Caller) -> None:
        await caller.add(SAMPLES, label="x")
        there = caller.elsewhere()
        (entry,) = await self._pending(caller)
        assert isinstance(entry, AuditEntry)
        copy = msgspec.structs.replace(entry, id=new_id(), tenant_id=there.identity.tenant_id)
        (outcome,) = await there.put(AUDIT, copy, sequence=1)
        assert outcome.ok
        assert await self._pending(there) == []

    async def test_acknowledging_the_unknown_does_nothing(self, caller: Caller) -> None:
        await caller.add(SAMPLES, label="x")
        store = caller.subject.ability(ForwardsAudit)
        await store.acknowledge_audit([])
        await store.acknowledge_audit(["nothing"])
        assert len(await self._pending(caller)) == 1
