"""The ASP.NET dialect against a fake, in both spellings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import MappingProxyType

import msgspec
import pytest
from tests.rest.aspnet_fake import FakeAspNet
from tests.rest.servers import serving

from interlock.backends.rest import ASPNET, RestBackend, RestSettings
from interlock.contract import Condition, Group, Identity, Query, Request, Response, Sort
from interlock.entities import CUSTOMERS, Customer
from interlock.errors import Conflict, Duplicate, Invalid, NotFound, Unauthenticated, Unsupported
from interlock.identifiers import new_id

pytestmark = pytest.mark.anyio

ACME = Identity("u-1", "acme", "admin")


class Tokens:
    """The tenant's name, and a number that a refresh counts up."""

    def __init__(self) -> None:
        self.refreshed = 0

    async def token(self, identity: Identity, *, refresh: bool = False) -> str:
        self.refreshed += refresh
        return f"{identity.tenant_id}#{self.refreshed}"


class Api:
    """The fake and a backend that speaks to it."""

    def __init__(self, fake: FakeAspNet, backend: RestBackend, tokens: Tokens) -> None:
        self.fake = fake
        self.backend = backend
        self.tokens = tokens

    async def create(self, *names: str, **fields: object) -> Response:
        rows = tuple(Customer(id=new_id(), company_name=name, **fields) for name in names)  # type: ignore[arg-type]  # fields
        return await self.backend.handle(Request("create", "customers", ACME, rows=rows, operation_id=new_id()))

    async def find(self, query: Query) -> list[str]:
        answer = await self.backend.handle(Request("find", "customers", ACME, query))
        return [row.company_name for row in answer.rows]


@pytest.fixture(params=["camel", "pascal"])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    fake, tokens = FakeAspNet(pascal=request.param == "pascal"), Tokens()
    async with serving(fake.app) as url:
        dialect = msgspec.structs.replace(ASPNET, casing=request.param)
        backend = RestBackend(RestSettings(base_url=f"{url}/api", dialect=dialect), (CUSTOMERS,), tokens=tokens)
        yield Api(fake, backend, tokens)
        await backend.aclose()


async def test_a_record_lives(api: Api) -> None:
    (outcome,) = (await api.create("Größe, | \\ Söhne", tags=("a", "b"))).outcomes
    row = outcome.row
    assert isinstance(row, Customer)
    assert (row.version, row.tenant_id, row.tags) == (1, "acme", ("a", "b"))
    assert (await api.backend.handle(Request("get", "customers", ACME, ids=(row.id, new_id())))).rows == (row,)
    patch = MappingProxyType({"company_name": "New", "city": None})
    request = Request("update", "customers", ACME, ids=(row.id,), patch=patch, expected_version=1, operation_id="u")
    changed = (await api.backend.handle(request)).outcomes[0].row
    assert isinstance(changed, Customer)
    assert (changed.company_name, changed.version) == ("New", 2)
    error = (await api.backend.handle(request)).outcomes[0].error
    assert isinstance(error, Conflict)
    nothing = Request("update", "customers", ACME, ids=(row.id,), patch=MappingProxyType({}), operation_id="v")
    assert (await api.backend.handle(nothing)).outcomes[0].row == changed
    gone = await api.backend.handle(Request("delete", "customers", ACME, ids=(row.id,), operation_id="d"))
    assert gone.outcomes[0].row is not None
    again = await api.backend.handle(Request("delete", "customers", ACME, ids=(row.id,), operation_id="e"))
    assert isinstance(again.outcomes[0].error, NotFound)


async def test_queries(api: Api) -> None:
    await api.create("a,b", "a|b", "null", "c\\d", status="active")
    await api.create("e", city="Oslo")
    for where, expected in (
        (Condition("company_name", "eq", "a,b"), ["a,b"]),
        (Condition("company_name", "in", ("a|b", "null")), ["a|b", "null"]),
        (Condition("company_name", "nin", ("a|b", "null")), ["a,b", "c\\d", "e"]),
        (Condition("company_name", "contains", ","), ["a,b"]),
        (Condition("company_name", "startswith", "c\\"), ["c\\d"]),
        (Condition("company_name", "between", ("c", "e")), ["c\\d", "e"]),
        (Condition("city", "is_null", False), ["e"]),
        (Condition("version", "lt", 1), []),
        (Group("and", (Condition("status", "eq", "active"), Condition("company_name", "gt", "c"))), ["c\\d", "null"]),
        (Group("or", ()), []),
    ):
        assert await api.find(Query(where=where, sort=(Sort("company_name"),))) == expected, where
    with pytest.raises(Unsupported):
        await api.find(Query(search="x"))


@pytest.mark.parametrize(("offset", "limit"), [(0, 4), (4, 4), (3, 4), (1, 7), (9, 5), (10, 1), (50, 2)])
async def test_any_range_is_made_of_pages(api: Api, offset: int, limit: int) -> None:
    await api.create(*"abcdefghij")
    query = Query(sort=(Sort("company_name"),), offset=offset, limit=limit, count="exact")
    answer = await api.backend.handle(Request("find", "customers", ACME, query))
    assert "".join(row.company_name for row in answer.rows) == "abcdefghij"[offset : offset + limit]
    assert answer.total == 10
    assert (answer.next_cursor is not None) == (offset + limit < 10)


async def test_errors_name_our_fields(api: Api) -> None:
    with pytest.raises(Invalid) as caught:
        await api.create("forbidden name")
    assert caught.value.fields == {"company_name": "is not allowed; choose another"}
    await api.create("one", email="a@x.test")
    (outcome,) = (await api.create("two", email="a@x.test")).outcomes
    assert isinstance(outcome.error, Duplicate)
    assert outcome.error.field == "email"


async def test_an_error_after_a_written_item_is_that_items(api: Api) -> None:
    first, second = (await api.create("good", "forbidden name")).outcomes
    assert first.ok
    assert isinstance(second.error, Invalid)


async def test_an_operation_id_writes_once(api: Api) -> None:
    row = Customer(id=new_id(), company_name="once")
    request = Request("create", "customers", ACME, rows=(row,), operation_id="same")
    assert (await api.backend.handle(request)).outcomes == (await api.backend.handle(request)).outcomes
    assert len(api.fake.rows) == 1


async def test_a_refused_token_is_refreshed_once(api: Api) -> None:
    api.fake.expired.add("acme#0")
    await api.create("x")
    assert api.tokens.refreshed == 1
    api.fake.expired |= {"acme#1", "acme#2"}
    before = len(api.fake.seen)
    with pytest.raises(Unauthenticated):
        await api.find(Query())
    assert (api.tokens.refreshed, len(api.fake.seen) - before) == (2, 2)
