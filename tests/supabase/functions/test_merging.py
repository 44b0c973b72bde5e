"""The function merge-customers does what the service's merge does, with the caller's own rights."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.supabase.functions.conftest import Tenant

from interlock.backends.supabase.functions import SupabaseFunctions
from interlock.entities import CUSTOMERS, ENTITIES, Customer
from interlock.errors import Forbidden, Invalid, NotFound
from interlock.identifiers import new_id
from interlock.services.policy import able

pytestmark = pytest.mark.anyio

MINE = ("id", "tenant_id", "created_at", "updated_at", "created_by", "updated_by")


async def populated(tenant: Tenant) -> tuple[str, str, str]:
    services = tenant.services()
    stage = (await services.sales.create_default_stages())[0]
    winner = await services.customers.create(company_name="Acme", city="Berlin", tags=("a", "Straße"))
    first = await services.customers.create(
        company_name="ACME", city="Bonn", email="info@acme.test", phone="1", tags=("A", "b", "STRASSE")
    )
    second = await services.customers.create(
        company_name="Acme Inc", phone="2", country="DE", email="x@acme.test", location={"lat": 52.5, "lon": 13.4}
    )
    for customer in (winner, first, second):
        await services.sales.create(title="D", customer_id=customer.id, stage_id=stage.id, amount=Decimal(1))
        await services.tickets.create(subject="T", customer_id=customer.id, status="closed")
        await services.contracts.create(title="C", customer_id=customer.id)
    gone = await services.contracts.create(title="gone", customer_id=first.id)
    await services.contracts.delete(gone.id)
    await services.files.upload("a.txt", b"hello", "text/plain", ("customers", first.id))
    return winner.id, first.id, second.id


def comparable(customer: Customer) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(customer).items() if name not in MINE}


async def test_it_does_what_the_service_does(functions: SupabaseFunctions, ours: Tenant, theirs: Tenant) -> None:
    winner, first, second = await populated(theirs)
    expected = await theirs.services().customers.merge(winner, [first, second])
    winner, first, second = await populated(ours)
    got = await functions.invoke(
        ours["manager"], "merge-customers", {"winner": winner, "losers": [first, second, first]}
    )
    assert got["merged"] == [first, second]
    assert got["moved"] == expected.moved == {"deals": 2, "tickets": 2, "contracts": 2, "files": 1}
    kept = await ours.services().customers.get(winner)
    assert comparable(kept) == comparable(expected.winner)
    assert (got["winner"]["id"], got["winner"]["version"]) == (winner, kept.version)
    assert got["winner"]["location"] == {"lat": 52.5, "lon": 13.4}
    for loser in (first, second):
        with pytest.raises(NotFound):
            await ours.services().customers.get(loser)
    trail = await ours.services("admin").audit.list(record_id=winner, limit=100)
    assert {entry.action for entry in trail.items} == {"create", "update"}
    assert {entry.actor for entry in trail.items} == {ours["manager"].user_id}


async def test_the_same_operation_again_changes_nothing(functions: SupabaseFunctions, ours: Tenant) -> None:
    winner, first, second = await populated(ours)
    arguments = {"winner": winner, "losers": [first, second]}
    operation = new_id()
    done = await functions.invoke(ours["manager"], "merge-customers", arguments, operation_id=operation)
    cleared = await ours.services().customers.update(winner, phone=None, tags=())
    again = await functions.invoke(ours["manager"], "merge-customers", arguments, operation_id=operation)
    assert set(done["moved"].values()) != {0}
    assert set(again["moved"].values()) == {0}
    assert await ours.services().customers.get(winner) == cleared
    with pytest.raises(Invalid, match="operation_id"):
        await functions.invoke(
            ours["manager"], "merge-customers", {"winner": winner, "losers": [second]}, operation_id=operation
        )


async def test_a_merge_that_fails_leaves_everything(functions: SupabaseFunctions, ours: Tenant) -> None:
    winner, first, second = await populated(ours)
    before = await ours.services().customers.get(winner)
    await ours.services().customers.delete(second)
    with pytest.raises(NotFound) as failure:
        await functions.invoke(ours["manager"], "merge-customers", {"winner": winner, "losers": [first, second]})
    assert (failure.value.resource, failure.value.id) == ("customers", second)
    assert await ours.services().customers.get(winner) == before
    assert (await ours.services().sales.list(customer_id=first)).items


async def test_an_address_that_somebody_else_has_by_then_is_left(functions: SupabaseFunctions, ours: Tenant) -> None:
    customers = ours.services().customers
    winner = (await customers.create(company_name="W", email="w@x.test")).id
    loser = (await customers.create(company_name="L", email="l@x.test")).id
    got = await functions.invoke(ours["manager"], "merge-customers", {"winner": winner, "losers": [loser]})
    assert got["winner"]["email"] == "w@x.test"


@pytest.mark.parametrize("role", ["viewer", "agent"])
async def test_other_roles_may_not(functions: SupabaseFunctions, ours: Tenant, role: str) -> None:
    customers = ours.services().customers
    winner, loser = (await customers.create(company_name="W")).id, (await customers.create(company_name="L")).id
    with pytest.raises(Forbidden):
        await functions.invoke(ours[role], "merge-customers", {"winner": winner, "losers": [loser]})
    assert (await customers.get(loser)).deleted_at is None


async def test_another_tenants_customers_are_not_found(
    functions: SupabaseFunctions, ours: Tenant, theirs: Tenant
) -> None:
    mine = (await ours.services().customers.create(company_name="Mine")).id
    foreign = await theirs.services().customers.create(company_name="Theirs", phone="secret")
    for winner, loser in ((mine, foreign.id), (foreign.id, mine)):
        with pytest.raises(NotFound) as failure:
            await functions.invoke(ours["admin"], "merge-customers", {"winner": winner, "losers": [loser]})
        assert failure.value.id == foreign.id
    assert await theirs.services().customers.get(foreign.id) == foreign


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "winner"),
        ({"winner": "x", "losers": [new_id()]}, "winner"),
        ({"winner": new_id(), "losers": []}, "losers"),
        ({"winner": new_id(), "losers": "text"}, "losers"),
        ({"winner": new_id(), "losers": ["x' or 1=1"]}, "losers"),
        ({"winner": new_id(), "losers": [new_id() for _ in range(101)]}, "losers"),
        ({"winner": new_id(), "losers": [new_id()], "looser": 1}, "looser"),
    ],
)
async def test_bad_input_is_named(
    functions: SupabaseFunctions, ours: Tenant, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as failure:
        await functions.invoke(ours["manager"], "merge-customers", arguments)
    assert field in failure.value.fields


def test_the_database_knows_every_reference_and_role() -> None:
    """What supabase/schemas/83_functions.sql says by hand is what the entities and the policy say."""
    assert able("customers", "merge") == {"admin", "manager", "system"}
    referring = {
        entity.resource for entity in ENTITIES for reference in entity.references if reference.resource == "customers"
    }
    assert referring == {"deals", "tickets", "contracts"}
    filled = CUSTOMERS.writable - {"id", "email", "tags", "company_name", "status"}
    assert filled == {
        "address", "assigned_to", "city", "contact_name", "country", "industry", "location", "notes", "phone", "size",
    }  # fmt: skip
