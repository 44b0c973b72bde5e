"""The trail: append-only, and brought to where it is served, none lost and none doubled."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from interlock.backends.memory import MemoryBackend
from interlock.contract import Identity, Record, Request, Response
from interlock.entities import ENTITIES
from interlock.entities.audit import AuditEntry
from interlock.errors import Forbidden, InterlockError, Unavailable, Unsupported
from interlock.identifiers import new_id
from interlock.services.relay import AuditRelay

from .harness import World

pytestmark = pytest.mark.anyio


@pytest.mark.clock
async def test_history(world: World) -> None:
    customers = world.manager.customers
    customer = await customers.create(company_name="A")
    await customers.create(company_name="B")
    world.clock.advance(minutes=1)
    await customers.update(customer.id, company_name="AA")
    world.clock.advance(minutes=1)
    await customers.delete(customer.id)
    page = await world.manager.audit.history("customers", customer.id)
    assert [entry.action for entry in page] == ["create", "update", "delete"]
    assert '"companyName":"A"' in page.items[1].before
    assert page.total == 3
    assert page.items[0].actor == world.users["manager"].id


@pytest.mark.parametrize("who", ["admin", "system"])
async def test_nobody_writes_the_trail(world: World, who: str) -> None:
    customer = await world.agent.customers.create(company_name="A")
    (entry,) = (await world.manager.audit.history("customers", customer.id)).items
    audit = world.as_(who).audit
    refusal = (Forbidden, Unsupported)
    for call in (
        audit.create(actor="me", action="create", target="customers"),
        audit.bulk_create([{"actor": "me", "action": "create", "target": "customers"}]),
        audit.update(entry.id, actor="you"),
        audit.bulk_update([entry.id], {"actor": "you"}),
        audit.delete(entry.id),
        audit.bulk_delete([entry.id]),
        audit.restore(entry.id),
    ):
        with pytest.raises(refusal):
            await call
    assert (await audit.history("customers", customer.id)).items == (entry,)


class Losing:
    """An audit backend that fails before or after it wrote, by a seeded chance; a source that fails to acknowledge."""

    def __init__(self, inner: MemoryBackend, seed: int, chance: float = 0.4) -> None:
        self.inner = inner
        self.random = random.Random(seed)
        self.chance = chance

    def _may_fail(self, when: str) -> None:
        if self.random.random() < self.chance:
            raise Unavailable(f"lost {when}")

    async def handle(self, request: Request) -> Response:
        self._may_fail("before the write")
        answer = await self.inner.handle(request)
        self._may_fail("after the write")
        return answer

    async def pending_audit(self, limit: int = 100) -> Sequence[Record]:
        return await self.inner.pending_audit(min(limit, 3))

    async def acknowledge_audit(self, ids: Sequence[str]) -> None:
        self._may_fail("before the acknowledgement")
        await self.inner.acknowledge_audit(ids)
        self._may_fail("after the acknowledgement")


async def trail(backend: MemoryBackend, tenant: str) -> list[AuditEntry]:
    system = Identity("system", tenant, "system")
    answer = await backend.handle(Request("find", "audit", system))
    return sorted(answer.rows, key=lambda entry: entry.id)


async def until_done(relay: AuditRelay) -> None:
    while True:
        try:
            await relay.flush()
        except InterlockError:
            continue
        return


@pytest.mark.parametrize("seed", range(20))
async def test_entries_arrive_once_whatever_is_lost(memory: World, seed: int) -> None:
    elsewhere = MemoryBackend(ENTITIES, name="audit", clock=memory.clock)
    await memory.populate("globex")
    memory.serve(Losing(elsewhere, seed), "audit", "audit")
    source = Losing(memory.backend, seed + 1000)
    for tenant in ("", "globex."):
        for number in range(4):
            customer = await memory.as_(f"{tenant}manager").customers.create(company_name=f"C{number}")
            await memory.as_(f"{tenant}manager").customers.update(customer.id, city="Bonn")
    # Each round may be cut short at any step; another relay then starts from what is still pending.
    for _ in range(3):
        relay = AuditRelay(lambda: [("memory", source)], lambda: memory.router.route("audit"))
        task = asyncio.create_task(until_done(relay))
        for _ in range(random.Random(seed).randrange(20)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await until_done(AuditRelay(lambda: [("memory", source)], lambda: memory.router.route("audit")))
    for tenant in ("acme", "globex"):
        assert await trail(elsewhere, tenant) == await trail(memory.backend, tenant)
    assert len(await trail(elsewhere, "acme")) == 12
    assert await memory.backend.pending_audit() == ()


@pytest.mark.clock
async def test_where_the_trail_is_at_home_entries_are_only_acknowledged(world: World) -> None:
    await world.agent.customers.create(company_name="A")
    relay = AuditRelay(lambda: [("test", world.backend)], lambda: world.router.route("audit"))
    before = (await world.manager.audit.list(limit=1, count="exact")).total
    # Where the database is not this test's alone, others have left entries too.
    for _ in range(1000):
        assert await relay.flush() == 0
        if not await world.backend.pending_audit():
            break
    assert len(await world.backend.pending_audit()) == 0
    assert (await world.manager.audit.list(limit=1, count="exact")).total == before


def switch_entry() -> AuditEntry:
    return AuditEntry(id=new_id(), tenant_id="acme", version=1, actor="system", action="switch", target="customers")


async def test_an_entry_of_our_own_waits_until_the_trail_answers(memory: World) -> None:
    elsewhere = MemoryBackend(ENTITIES, name="audit", clock=memory.clock)
    memory.serve(Losing(elsewhere, 1, chance=1.0), "audit", "audit")
    relay = AuditRelay(lambda: (), lambda: memory.router.route("audit"))
    entry = switch_entry()
    with pytest.raises(Unavailable):
        await relay.record(entry)
    memory.serve(elsewhere, "audit", "audit")
    await relay.flush()
    await relay.flush()
    assert [found.id for found in await trail(elsewhere, "acme")] == [entry.id]


async def test_the_background_forwards_until_it_is_closed(memory: World) -> None:
    elsewhere = MemoryBackend(ENTITIES, name="audit", clock=memory.clock)
    memory.serve(elsewhere, "audit", "audit")
    relay = AuditRelay(lambda: [("memory", memory.backend)], lambda: memory.router.route("audit"))
    relay.start(pause=0.001)
    relay.start(pause=0.001)
    await memory.agent.customers.create(company_name="A")
    while await memory.backend.pending_audit():  # noqa: ASYNC110 - the backend tells nobody when it is asked
        await asyncio.sleep(0.001)
    relay.start(pause=60)
    await relay.aclose()
    relay.start(pause=60)
    await memory.agent.customers.create(company_name="B")
    await relay.aclose()
    await relay.aclose()
    assert len(await trail(elsewhere, "acme")) == 6


async def test_closing_does_not_wait_for_a_trail_that_does_not_answer(memory: World) -> None:
    memory.serve(Losing(MemoryBackend(ENTITIES), 1, chance=1.0), "audit", "audit")
    relay = AuditRelay(lambda: [("memory", memory.backend)], lambda: memory.router.route("audit"))
    relay.start(pause=60)
    await relay.aclose()
    assert len(await memory.backend.pending_audit()) == 4


async def test_a_refused_entry_does_not_stop_the_others(memory: World) -> None:
    class Refusing:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def handle(self, request: Request) -> Response:
            from interlock.contract import Outcome

            answer = await self.inner.handle(request)
            first, *others = answer.outcomes
            return Response(outcomes=(Outcome(first.id, error=Unavailable("not this one")), *others))

    elsewhere = MemoryBackend(ENTITIES, name="audit", clock=memory.clock)
    memory.serve(Refusing(elsewhere), "audit", "audit")
    relay = AuditRelay(lambda: [("memory", memory.backend)], lambda: memory.router.route("audit"))
    await memory.agent.customers.create(company_name="A")
    await relay.flush()
    assert len(await memory.backend.pending_audit()) == 1
