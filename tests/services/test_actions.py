"""The actions as data: every one can be called by its JSON names, and says what is wrong with its arguments."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from interlock.errors import Forbidden, Invalid
from interlock.services.actions import ACTIONS, Action, run_action

from .harness import World

pytestmark = pytest.mark.anyio

EVERY = [action for service in ACTIONS.values() for action in service.values()]


@pytest.mark.parametrize("action", EVERY, ids=lambda action: f"{action.service}.{action.name}")
def test_every_action_has_a_schema_and_a_summary(action: Action) -> None:
    (_, components) = msgspec.json.schema_components([action.arguments, action.result])
    assert action.arguments.__name__ in components
    assert action.summary.endswith((".", ","))
    assert action.role in ("viewer", "agent", "manager", "admin")


async def test_calling_every_action(world: World) -> None:
    services = world.admin
    stage, other = (await services.sales.create_default_stages())[:2]
    customer = await services.customers.create(company_name="A")
    loser = await services.customers.create(company_name="B", email="b@b.test")
    deal = await services.sales.create(title="D", customer_id=customer.id, stage_id=stage.id)
    ticket = await services.tickets.create(subject="T")
    contract, ending = [
        await services.contracts.create(title="C", customer_id=customer.id, status="active") for _ in range(2)
    ]
    note = await services.notifications.create(user_id=world.users["admin"].id, kind="note", title="Hello")
    viewer = world.users["viewer"].id
    arguments: dict[tuple[str, str], dict[str, Any]] = {
        ("customers", "create_tag"): {"name": "vip"},
        ("customers", "tag"): {"id": customer.id, "names": ["vip", "new"]},
        ("customers", "untag"): {"id": customer.id, "names": ["vip"]},
        ("customers", "nearby"): {"lat": 1.0, "lon": 2, "km": 3},
        ("customers", "merge"): {"winner": customer.id, "losers": [loser.id]},
        ("sales", "move"): {"id": deal.id, "stageId": other.id},
        ("tickets", "assign"): {"id": ticket.id, "userId": None},
        ("tickets", "comment"): {"id": ticket.id, "body": "Hello", "internal": True},
        ("tickets", "comments"): {"id": ticket.id},
        ("tickets", "resolve"): {"id": ticket.id},
        ("tickets", "reopen"): {"id": ticket.id},
        ("contracts", "renew"): {"id": contract.id, "endDate": "2030-01-01", "value": "12.50"},
        ("contracts", "terminate"): {"id": ending.id, "on": "2031-01-01"},
        ("users", "invite"): {"email": "n@acme.test", "displayName": "N"},
        ("users", "set_role"): {"id": viewer, "role": "agent"},
        ("users", "deactivate"): {"id": viewer},
        ("notifications", "mark_read"): {"id": note.id},
        ("audit", "history"): {"resource": "customers", "id": customer.id},
    }
    await services.contracts.update(contract.id, end_date=world.clock.now.date())
    for action in EVERY:
        result = await run_action(
            services, action.service, action.name, arguments.get((action.service, action.name), {})
        )
        assert msgspec.convert(msgspec.to_builtins(result), action.result) == result
    assert (await services.customers.get(customer.id)).tags == ("new",)
    assert (await services.customers.get(customer.id)).email == "b@b.test"
    assert (await services.contracts.get(contract.id)).value == msgspec.convert("12.50", type(contract.value))


@pytest.mark.parametrize(
    ("service", "name", "arguments", "field"),
    [
        ("customer", "merge", {}, "service"),
        ("customers", "merg", {}, "action"),
        ("customers", "__init__", {}, "action"),
        ("customers", "merge", {}, "winner"),
        ("customers", "merge", {"winner": 1, "losers": ["x"]}, "winner"),
        ("customers", "merge", {"winner": "x", "losers": "x"}, "losers"),
        ("customers", "merge", {"winner": "x", "losers": ["x"], "looser": 1}, "looser"),
        ("customers", "nearby", {"lat": "1", "lon": 2, "km": 3}, "lat"),
        ("customers", "nearby", {"lat": float("nan"), "lon": 2, "km": 3}, "near"),
        ("contracts", "renew", {"id": "x", "endDate": "0000-01-01"}, "end_date"),
        ("contracts", "renew", {"id": "x", "months": 10**30}, "months"),
        ("contracts", "expiring", {"days": 10**30}, "days"),
        ("tickets", "overdue", {"limit": 0}, "limit"),
        ("tickets", "overdue", {"cursor": "%%%"}, "cursor"),
        ("tickets", "comment", {"id": "x", "body": "\ud800"}, "body"),
        ("users", "set_role", {"id": "x", "role": "system"}, "role"),
    ],
)
async def test_wrong_arguments_are_named(
    memory: World, service: str, name: str, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await run_action(memory.admin, service, name, arguments)
    assert field in caught.value.fields


async def test_the_command_line_gives_texts(memory: World) -> None:
    page = await run_action(memory.viewer, "customers", "nearby", {"lat": "1", "lon": "2", "km": "3"}, lax=True)
    assert page.items == ()


async def test_an_operation_id_reaches_the_action(memory: World) -> None:
    ticket = await memory.agent.tickets.create(subject="T")
    first = await run_action(memory.agent, "tickets", "resolve", {"id": ticket.id}, operation_id="op-1")
    await memory.agent.tickets.update(ticket.id, status="closed")
    again = await run_action(memory.agent, "tickets", "resolve", {"id": ticket.id}, operation_id="op-1")
    assert (first.status, again.status) == ("resolved", "closed")


@pytest.mark.parametrize("action", EVERY, ids=lambda action: f"{action.service}.{action.name}")
async def test_the_role_that_an_action_names_is_the_one_that_its_policy_asks_for(memory: World, action: Action) -> None:
    """Whoever is below that role is refused, whatever the arguments."""
    ranks = ("viewer", "agent", "manager", "admin")
    given = {
        field.encode_name: {"role": "agent", "lat": 1.0, "lon": 1.0, "km": 1.0, "losers": ["x"], "names": ["x"]}.get(
            field.name, "x@y.z"
        )
        for field in msgspec.structs.fields(action.arguments)
        if field.required
    }
    for who in ranks[: ranks.index(action.role)]:
        customer = await memory.agent.customers.create(company_name="A")
        ticket = await memory.agent.tickets.create(subject="T")
        if "id" in given:
            given["id"] = ticket.id if action.service == "tickets" else customer.id
        with pytest.raises(Forbidden):
            await run_action(memory.as_(who), action.service, action.name, given)
