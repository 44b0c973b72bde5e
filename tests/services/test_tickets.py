"""Tickets: declared moves only, also in races; who resolved when; comments."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from interlock.errors import Conflict, Forbidden, Invalid, NotFound
from interlock.services.tickets import TRANSITIONS

from .harness import World

pytestmark = pytest.mark.anyio

STATUSES = tuple(TRANSITIONS.table)


@pytest.mark.parametrize("new", STATUSES)
@pytest.mark.parametrize("old", STATUSES)
async def test_every_move_is_declared_or_refused(world: World, old: str, new: str) -> None:
    tickets = world.agent.tickets
    ticket = await tickets.create(subject="Broken", status=old)
    if new == old or new in TRANSITIONS.table[old]:
        assert (await tickets.update(ticket.id, status=new)).status == new
    else:
        with pytest.raises(Invalid, match=f"cannot go from {old} to {new}"):
            await tickets.update(ticket.id, status=new)
        assert await tickets.get(ticket.id) == ticket


@pytest.mark.clock
async def test_resolved_at_follows_the_status(world: World) -> None:
    tickets = world.agent.tickets
    ticket = await tickets.create(subject="Broken")
    assert ticket.resolved_at is None
    world.clock.advance(hours=1)
    resolved = await tickets.resolve(ticket.id)
    assert (resolved.status, resolved.resolved_at) == ("resolved", world.clock.now)
    world.clock.advance(hours=1)
    closed = await tickets.update(ticket.id, status="closed")
    assert closed.resolved_at == resolved.resolved_at
    assert (await tickets.reopen(ticket.id)).resolved_at is None


@pytest.mark.clock
async def test_resolved_at_cannot_contradict_the_status(world: World) -> None:
    tickets = world.agent.tickets
    ticket = await tickets.create(subject="Broken")
    with pytest.raises(Invalid, match="resolved_at"):
        await tickets.update(ticket.id, resolved_at=world.clock.now)
    with pytest.raises(Invalid, match="resolved_at"):
        await tickets.create(subject="Broken", resolved_at=world.clock.now)
    earlier = world.clock.now - timedelta(days=3)
    assert (await tickets.update(ticket.id, status="resolved", resolved_at=earlier)).resolved_at == earlier
    assert (await tickets.update(ticket.id, status="open", resolved_at=earlier)).resolved_at is None


async def test_bulk_moves_have_one_outcome_each(world: World) -> None:
    tickets = world.manager.tickets
    open_, closed = [await tickets.create(subject="Broken", status=status) for status in ("open", "closed")]
    outcomes = await tickets.bulk_update([open_.id, closed.id, "nothing"], {"status": "resolved"})
    assert [outcome.ok for outcome in outcomes] == [True, False, False]
    assert isinstance(outcomes[1].error, Invalid)
    assert isinstance(outcomes[2].error, NotFound)


async def test_racing_moves_never_skip_the_table(world: World) -> None:
    """From `open`, one caller closes and one resolves: closed to resolved is no move, so at most one order is accepted."""
    tickets = world.agent.tickets
    for _ in range(10):
        ticket = await tickets.create(subject="Broken")
        results = await asyncio.gather(
            tickets.update(ticket.id, status="closed"),
            tickets.update(ticket.id, status="resolved"),
            return_exceptions=True,
        )
        history = (await world.manager.audit.history("tickets", ticket.id)).items
        assert (await tickets.get(ticket.id)).status == "closed"
        assert results[0].status == "closed"  # type: ignore[union-attr]  # no exception: closing is always allowed
        if isinstance(results[1], Exception):
            assert isinstance(results[1], Invalid)
            assert len(history) == 2
        else:
            assert len(history) == 3


async def test_the_expected_version_is_the_callers(world: World) -> None:
    tickets = world.agent.tickets
    ticket = await tickets.create(subject="Broken")
    await tickets.update(ticket.id, subject="Very broken")
    with pytest.raises(Conflict) as caught:
        await tickets.update(ticket.id, status="resolved", expected_version=1)
    assert caught.value.current.subject == "Very broken"


@pytest.mark.clock
async def test_a_replayed_move_writes_nothing(world: World) -> None:
    tickets = world.agent.tickets
    ticket = await tickets.create(subject="Broken")
    first = await tickets.resolve(ticket.id, operation_id="op-1")
    world.clock.advance(hours=1)
    assert await tickets.resolve(ticket.id, operation_id="op-1") == first
    closed = await tickets.update(ticket.id, status="closed")
    # Judged by the closed record the move would be refused; it was accepted long ago.
    assert await tickets.resolve(ticket.id, operation_id="op-1") == closed
    with pytest.raises(Invalid, match="operation_id"):
        await tickets.reopen(ticket.id, operation_id="op-1")


async def test_assigning(world: World) -> None:
    tickets = world.agent.tickets
    ticket = await tickets.create(subject="Broken")
    assert (await tickets.assign(ticket.id, world.users["agent"].id)).assigned_to == world.users["agent"].id
    assert (await tickets.assign(ticket.id, None)).assigned_to is None
    with pytest.raises(Invalid, match="assigned_to"):
        await tickets.assign(ticket.id, ticket.id)
    await world.admin.users.deactivate(world.users["viewer"].id)
    with pytest.raises(Invalid, match="not active"):
        await tickets.assign(ticket.id, world.users["viewer"].id)
    with pytest.raises(Invalid, match="not active"):
        await tickets.create(subject="Broken", assigned_to=world.users["viewer"].id)


@pytest.mark.clock
async def test_overdue(world: World) -> None:
    tickets = world.agent.tickets
    now = world.clock.now
    late = await tickets.create(subject="late", due_at=now - timedelta(hours=1))
    later = await tickets.create(subject="later", due_at=now - timedelta(hours=2), status="waiting")
    await tickets.create(subject="in time", due_at=now + timedelta(hours=1))
    await tickets.create(subject="done", due_at=now - timedelta(hours=1), status="resolved")
    await tickets.create(subject="whenever")
    page = await tickets.overdue()
    assert ([ticket.id for ticket in page], page.total) == ([later.id, late.id], 2)


@pytest.mark.clock
async def test_comments(world: World) -> None:
    tickets = world.agent.tickets
    ticket = await tickets.create(subject="Broken")
    first = await tickets.comment(ticket.id, "Looking at it")
    world.clock.advance(minutes=1)
    second = await tickets.comment(ticket.id, "It is the fan", internal=True)
    page = await world.viewer.tickets.comments(ticket.id)
    assert list(page) == [first, second]
    with pytest.raises(NotFound):
        await tickets.comments("nothing")
    with pytest.raises(Invalid, match="ticket_id"):
        await tickets.comment(first.id, "Where?")


async def test_comments_belong_to_their_authors(world: World) -> None:
    ticket = await world.agent.tickets.create(subject="Broken")
    other = await world.agent.tickets.create(subject="Also broken")
    comment = await world.manager.tickets.comment(ticket.id, "Mine")
    with pytest.raises(Forbidden, match="author"):
        await world.agent.of("comments").update(comment.id, body="Yours")
    own = await world.agent.tickets.comment(ticket.id, "Mine")
    assert (await world.agent.of("comments").update(own.id, body="Still mine")).body == "Still mine"
    assert (await world.manager.of("comments").update(own.id, body="Moderated")).body == "Moderated"
    with pytest.raises(Invalid, match="ticket_id"):
        await world.agent.of("comments").update(own.id, ticket_id=other.id)


async def test_numbers_count(world: World) -> None:
    tickets = [await world.agent.tickets.create(subject="Broken") for _ in range(3)]
    assert [ticket.number for ticket in tickets] == [1, 2, 3]
