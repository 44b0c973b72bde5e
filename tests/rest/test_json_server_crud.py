"""The json-server dialect against npm's json-server, on both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.rest.servers import json_server

from interlock.backends.rest import JSON_SERVER, RestBackend, RestSettings
from interlock.contract import Condition, Group, Identity, Query, Request, Sort
from interlock.entities import CONTRACTS, CUSTOMERS, DEALS, ENTITIES, Contract, Customer, Deal
from interlock.errors import Duplicate, NotFound, Unsupported
from interlock.identifiers import new_id

pytestmark = pytest.mark.anyio

ACME = Identity("u-1", "acme", "admin")
GLOBEX = Identity("u-2", "globex", "admin")


@pytest.fixture(params=["pyreqwest", "aiohttp"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RestBackend]:
    resources = [entity.resource for entity in (CUSTOMERS, DEALS, CONTRACTS)]
    async with json_server(tmp_path, resources) as url:
        settings = RestSettings(base_url=url, dialect=JSON_SERVER, engine=request.param)
        backend = RestBackend(settings, ENTITIES, name="json")
        yield backend
        await backend.aclose()


async def create(backend: RestBackend, *names: str, identity: Identity = ACME, **fields: object) -> list[Customer]:
    rows = tuple(Customer(id=new_id(), company_name=name, **fields) for name in names)  # type: ignore[arg-type]  # fields
    answer = await backend.handle(Request("create", "customers", identity, rows=rows, operation_id=new_id()))
    return [outcome.row for outcome in answer.outcomes if isinstance(outcome.row, Customer)]


async def names(backend: RestBackend, query: Query, identity: Identity = ACME) -> list[str]:
    answer = await backend.handle(Request("find", "customers", identity, query))
    return [row.company_name for row in answer.rows]


async def test_a_record_lives(backend: RestBackend) -> None:
    (row,) = await create(backend, 'Zoë & Söhne, "Ltd" % _', city="Köln")
    assert (row.version, row.tenant_id, row.created_by) == (1, "acme", "u-1")
    assert row.created_at is not None
    got = await backend.handle(Request("get", "customers", ACME, ids=(row.id,)))
    assert got.rows == (row,)

    patch = MappingProxyType({"city": None, "status": "active"})
    answer = await backend.handle(Request("update", "customers", ACME, ids=(row.id,), patch=patch, operation_id="o"))
    (outcome,) = answer.outcomes
    assert isinstance(outcome.row, Customer)
    assert (outcome.row.city, outcome.row.status, outcome.row.version) == (None, "active", 2)
    again = await backend.handle(Request("update", "customers", ACME, ids=(row.id,), patch=patch, operation_id="p"))
    assert again.outcomes[0].row == outcome.row

    deleted = await backend.handle(Request("delete", "customers", ACME, ids=(row.id,), operation_id="q"))
    assert deleted.outcomes[0].row is not None
    assert deleted.outcomes[0].row.deleted_at is not None
    assert (await backend.handle(Request("get", "customers", ACME, ids=(row.id,)))).rows == ()
    gone = await backend.handle(Request("delete", "customers", ACME, ids=(row.id,), operation_id="r"))
    assert isinstance(gone.outcomes[0].error, NotFound)


async def test_the_same_id_twice_is_a_duplicate(backend: RestBackend) -> None:
    (row,) = await create(backend, "Alfreds")
    twin = Customer(id=row.id, company_name="Twin")
    answer = await backend.handle(Request("create", "customers", ACME, rows=(twin,), operation_id="x"))
    error = answer.outcomes[0].error
    assert isinstance(error, Duplicate)
    assert error.field == "id"


async def test_queries(backend: RestBackend) -> None:
    await create(backend, "a", "b", status="active")
    await create(backend, "c", "d", "e", status="lead", city="Oslo")
    by_name = (Sort("company_name"),)
    cases: list[tuple[Condition | Group, list[str]]] = [
        (Condition("status", "eq", "active"), ["a", "b"]),
        (Condition("status", "ne", "active"), ["c", "d", "e"]),
        (Condition("city", "ne", "Rome"), ["c", "d", "e"]),
        (Condition("company_name", "gt", "b"), ["c", "d", "e"]),
        (Condition("company_name", "gte", "b"), ["b", "c", "d", "e"]),
        (Condition("company_name", "lt", "b"), ["a"]),
        (Condition("company_name", "between", ("b", "d")), ["b", "c", "d"]),
        (Condition("company_name", "in", ("a", "e", "x")), ["a", "e"]),
        (Condition("company_name", "in", ()), []),
        (Condition("company_name", "nin", ("a", "e")), ["b", "c", "d"]),
        (Condition("version", "eq", 1), ["a", "b", "c", "d", "e"]),
        (Group("and", (Condition("status", "eq", "lead"), Condition("company_name", "lte", "d"))), ["c", "d"]),
        (Group("or", (Condition("company_name", "eq", "a"), Condition("company_name", "eq", "d"))), ["a", "d"]),
        (Group("or", ()), []),
    ]
    for where, expected in cases:
        assert await names(backend, Query(where=where, sort=by_name)) == expected, where
    assert await names(
        backend, Query(sort=(Sort("status", descending=True), Sort("company_name", descending=True)))
    ) == list("edcba")


async def test_pages_and_totals(backend: RestBackend) -> None:
    await create(backend, *"abcdefg")
    query = Query(sort=(Sort("company_name"),), limit=3, count="exact")
    seen: list[str] = []
    cursor = None
    while True:
        page = Query(sort=query.sort, limit=3, count="exact", cursor=cursor)
        answer = await backend.handle(Request("find", "customers", ACME, page))
        assert answer.total == 7
        seen += [row.company_name for row in answer.rows]
        cursor = answer.next_cursor
        if cursor is None:
            break
    assert seen == list("abcdefg")
    past = await backend.handle(Request("find", "customers", ACME, Query(offset=50, count="exact")))
    assert (past.rows, past.total, past.next_cursor) == ((), 7, None)


async def test_tenants_do_not_see_each_other(backend: RestBackend) -> None:
    (mine,) = await create(backend, "mine")
    (theirs,) = await create(backend, "theirs", identity=GLOBEX)
    assert await names(backend, Query()) == ["mine"]
    assert (await backend.handle(Request("get", "customers", ACME, ids=(theirs.id, mine.id)))).rows == (mine,)
    for verb in ("update", "delete"):
        patch = MappingProxyType({"notes": "x"}) if verb == "update" else None
        request = Request(verb, "customers", ACME, ids=(theirs.id,), patch=patch, operation_id=new_id())
        assert isinstance((await backend.handle(request)).outcomes[0].error, NotFound)
    assert (await backend.handle(Request("get", "customers", GLOBEX, ids=(theirs.id,)))).rows == (theirs,)


async def test_amounts_compare_as_numbers(backend: RestBackend) -> None:
    rows = tuple(
        Deal(id=new_id(), title=text, customer_id="c", stage_id="s", amount=Decimal(text))
        for text in ("9.5", "10.25", "100")
    )
    await backend.handle(Request("create", "deals", ACME, rows=rows, operation_id="d"))
    query = Query(where=Condition("amount", "gte", Decimal("10.2500")), sort=(Sort("amount"),))
    answer = await backend.handle(Request("find", "deals", ACME, query))
    assert [row.amount for row in answer.rows] == [Decimal("10.25"), Decimal(100)]


async def test_contracts_are_numbered(backend: RestBackend) -> None:
    rows = tuple(Contract(id=new_id(), title=title, customer_id="c") for title in "ab")
    answer = await backend.handle(Request("create", "contracts", ACME, rows=rows, operation_id="n"))
    assert [outcome.row.number for outcome in answer.outcomes if isinstance(outcome.row, Contract)] == [1, 2]


async def test_a_query_too_long_for_a_url_is_unsupported(backend: RestBackend) -> None:
    with pytest.raises(Unsupported, match="bytes"):
        await names(backend, Query(where=Condition("company_name", "in", tuple(map(str, range(5000))))))


async def test_what_it_has_no_words_for_is_unsupported_before_anything_is_sent(tmp_path: Path) -> None:
    settings = RestSettings(base_url="http://127.0.0.1:9", dialect=JSON_SERVER)
    backend = RestBackend(settings, ENTITIES, name="json")
    for query in (
        Query(search="x"),
        Query(deleted="with"),
        Query(where=Condition("city", "contains", "x")),
        Query(where=Condition("city", "is_null", True)),
        Query(where=Group("or", (Condition("city", "eq", "x"), Condition("notes", "eq", "x")))),
        Query(sort=(Sort("city", descending=True),)),
    ):
        with pytest.raises(Unsupported, match="'json'"):
            await backend.handle(Request("find", "customers", ACME, query))
    for request in (
        Request("aggregate", "customers", ACME),
        Request("put", "customers", ACME),
        Request("restore", "customers", ACME, ids=("x",)),
        Request("update", "customers", ACME, ids=("x",), patch=MappingProxyType({}), expected_version=1),
    ):
        with pytest.raises(Unsupported):
            await backend.handle(request)
    await backend.aclose()
