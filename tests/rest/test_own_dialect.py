"""The example of a dialect of one's own, against an API that speaks it."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.rest.servers import serving

from interlock.backends.rest import RestBackend, RestSettings
from interlock.contract import Condition, Identity, Query, Request, Sort
from interlock.entities import CUSTOMERS, Customer
from interlock.errors import Conflict, Duplicate, Invalid, NotFound
from interlock.identifiers import new_id

pytestmark = pytest.mark.anyio

ME = Identity("me", "mine", "agent")
EXAMPLE = Path(__file__).parents[2] / "examples" / "own_dialect.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_dialect", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Desk:
    """An API as somebody else might have written it."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.queries: list[str] = []
        self.app = Starlette(
            routes=[
                Route("/v2/accounts", self.index),
                Route("/v2/accounts", self.create, methods=["POST"]),
                Route("/v2/accounts/{id}", self.item, methods=["GET", "PUT", "DELETE"]),
            ]
        )

    @staticmethod
    def error(status: int, kind: str, text: str, **params: str) -> Response:
        return JSONResponse({"error": {"kind": kind, "text": text, "params": params}}, status)

    async def index(self, request: HttpRequest) -> Response:
        self.queries.append(str(request.url.query))
        rows = list(self.rows.values())
        if wanted := request.query_params.get("filter[status]"):
            rows = [row for row in rows if row["status"] == wanted]
        if wanted := request.query_params.get("filter[name][in]"):
            rows = [row for row in rows if row["name"] in wanted.split(",")]
        for key in reversed(request.query_params["sort"].split(",")):
            rows.sort(key=lambda row: row[key.removeprefix("-")], reverse=key.startswith("-"))
        number, size = int(request.query_params["page[number]"]), int(request.query_params["page[size]"])
        page = rows[(number - 1) * size : number * size]
        return JSONResponse({"data": page, "meta": {"total": len(rows)}})

    async def create(self, request: HttpRequest) -> Response:
        row = (await request.json())["data"]
        if row["name"] == "bad":
            return self.error(422, "validation", "some fields are wrong", name="is bad")
        if any(other["name"] == row["name"] for other in self.rows.values()):
            return self.error(400, "taken", "that name exists", name="exists")
        self.rows[row["id"]] = row | {"revision": 1, "created_at": "2026-01-01T00:00:00Z"}
        return JSONResponse({"data": self.rows[row["id"]]}, 201)

    async def item(self, request: HttpRequest) -> Response:
        row = self.rows.get(request.path_params["id"])
        if row is None:
            return self.error(404, "missing", "no such account")
        if request.headers.get("if-match", f'"{row["revision"]}"') != f'"{row["revision"]}"':
            return self.error(409, "stale", "somebody was faster")
        if request.method == "DELETE":
            del self.rows[row["id"]]
            return Response(status_code=204)
        if request.method == "PUT":
            kept = {"revision": row["revision"] + 1, "created_at": row["created_at"]}
            self.rows[row["id"]] = row = (await request.json())["data"] | kept
        return JSONResponse({"data": row})


@pytest.fixture
async def desk(example: ModuleType) -> AsyncIterator[tuple[Desk, RestBackend, str]]:
    desk = Desk()
    async with serving(desk.app) as url:
        settings = RestSettings(base_url=f"{url}/v2/", dialect=example.DESK)
        backend = RestBackend(settings, (CUSTOMERS,), tokens=example.OneToken("t"), name="desk")
        yield desk, backend, f"{url}/v2"
        await backend.aclose()


async def create(backend: RestBackend, *names: str, **fields: Any) -> tuple[Any, ...]:
    rows = tuple(Customer(id=new_id(), company_name=name, **fields) for name in names)
    return (await backend.handle(Request("create", "customers", ME, rows=rows, operation_id=new_id()))).outcomes


async def test_the_example_lists_active_customers(desk: tuple[Desk, RestBackend, str], example: ModuleType) -> None:
    _, backend, url = desk
    await create(backend, "Ann", "Bob", status="active")
    await create(backend, "Cid", status="lead")
    assert await example.active_customers(url, "t") == ["Ann", "Bob"]


async def test_a_record_lives(desk: tuple[Desk, RestBackend, str]) -> None:
    api, backend, _ = desk
    (outcome,) = await create(backend, "Ann", city="Oslo")
    row = outcome.row
    assert (row.company_name, row.tenant_id, row.version, row.city) == ("Ann", "mine", 1, "Oslo")
    assert api.rows[row.id]["name"] == "Ann"
    patch = MappingProxyType({"city": None})
    update = Request("update", "customers", ME, ids=(row.id,), patch=patch, expected_version=1, operation_id="u")
    changed = (await backend.handle(update)).outcomes[0].row
    assert isinstance(changed, Customer)
    assert (changed.company_name, changed.city, changed.version) == ("Ann", None, 2)
    stale = Request(
        "update",
        "customers",
        ME,
        ids=(row.id,),
        patch=MappingProxyType({"city": "x"}),
        expected_version=1,
        operation_id="v",
    )
    assert isinstance((await backend.handle(stale)).outcomes[0].error, Conflict)
    delete = Request("delete", "customers", ME, ids=(row.id,), operation_id="d")
    assert (await backend.handle(delete)).outcomes[0].ok
    assert isinstance((await backend.handle(delete)).outcomes[0].error, NotFound)


async def test_its_queries_are_its_own(desk: tuple[Desk, RestBackend, str]) -> None:
    api, backend, _ = desk
    await create(backend, "Ann", "Bob", "Cid")
    query = Query(
        where=Condition("company_name", "in", ("Ann", "Cid")),
        sort=(Sort("company_name", descending=True),),
        limit=1,
        count="exact",
    )
    answer = await backend.handle(Request("find", "customers", ME, query))
    assert ([row.company_name for row in answer.rows], answer.total) == (["Cid"], 2)
    (sent,) = api.queries
    assert sent == "filter%5Bname%5D%5Bin%5D=Ann%2CCid&sort=-name%2Cid&page%5Bnumber%5D=1&page%5Bsize%5D=1"
    again = Query(where=query.where, sort=query.sort, limit=5, cursor=answer.next_cursor)
    rows = (await backend.handle(Request("find", "customers", ME, again))).rows
    assert [row.company_name for row in rows] == ["Ann"]


async def test_its_errors_are_ours(desk: tuple[Desk, RestBackend, str]) -> None:
    _, backend, _ = desk
    with pytest.raises(Invalid) as caught:
        await create(backend, "bad")
    assert (caught.value.fields, caught.value.message) == ({"company_name": "is bad"}, "some fields are wrong")
    await create(backend, "Ann")
    (outcome,) = await create(backend, "Ann")
    assert isinstance(outcome.error, Duplicate)
    assert outcome.error.field == "company_name"
