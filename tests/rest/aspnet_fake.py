"""A fake: customers as an ASP.NET Core API with the Sieve package would serve them. The bearer token is the tenant's name."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["FakeAspNet"]

TERM = re.compile(r"(?P<field>\w+)(?P<sign>==|!=|>=|<=|>|<|@=|_=)(?P<value>.*)", re.DOTALL)


class FakeAspNet:
    """One collection. `pascal` spells JSON as `System.Text.Json` does when it is told to leave names alone."""

    def __init__(self, *, pascal: bool = False) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, tuple[int, Any]] = {}
        self.seen: list[Request] = []
        self.expired: set[str] = set()
        self._pascal = pascal
        self.app = Starlette(
            routes=[
                Route("/api/customers", self.collection, methods=["GET", "POST"]),
                Route("/api/customers/{id}", self.item, methods=["GET", "PATCH", "DELETE"]),
            ]
        )

    def name(self, camel: str) -> str:
        return camel[0].upper() + camel[1:] if self._pascal else camel

    def problem(self, status: int, title: str, **more: Any) -> Response:
        body = {"type": f"https://httpstatuses.test/{status}", "title": title, "status": status, **more}
        return JSONResponse(body, status, media_type="application/problem+json")

    def row(self, row: dict[str, Any], status: int = 200) -> Response:
        return JSONResponse({self.name(k): v for k, v in row.items()}, status, {"ETag": f'"{row["version"]}"'})

    async def collection(self, request: Request) -> Response:
        tenant = self._tenant(request)
        if tenant is None:
            return self.problem(401, "Unauthorized")
        if request.method == "POST":
            return await self._create(request, tenant)
        mine = [row for row in self.rows.values() if row["tenantId"] == tenant]
        for term in split(request.query_params.get("filters", ""), ","):
            mine = [row for row in mine if self._holds(row, term)]
        for key in reversed([key for key in request.query_params.get("sorts", "").split(",") if key]):
            field, descending = self._camel(key.removeprefix("-")), key.startswith("-")
            present = sorted((r for r in mine if r[field] is not None), key=lambda r: r[field], reverse=descending)
            mine = present + [row for row in mine if row[field] is None]
        page, size = int(request.query_params["page"]), int(request.query_params["pageSize"])
        items = [{self.name(k): v for k, v in row.items()} for row in mine[(page - 1) * size : page * size]]
        return JSONResponse({"items": items, "totalCount": len(mine), "page": page})

    async def item(self, request: Request) -> Response:
        tenant = self._tenant(request)
        row = self.rows.get(request.path_params["id"])
        if tenant is None:
            return self.problem(401, "Unauthorized")
        if row is None or row["tenantId"] != tenant:
            return self.problem(404, "Not Found")
        expected = request.headers.get("if-match")
        if expected not in (None, f'"{row["version"]}"'):
            return self.problem(412, "Precondition Failed")
        if request.method == "DELETE":
            del self.rows[row["id"]]
            return Response(status_code=204)
        if request.method == "PATCH":
            patch = {self._camel(key): value for key, value in (await request.json()).items()}
            row |= patch | {"version": row["version"] + 1, "updatedAt": now()}
        return self.row(row)

    async def _create(self, request: Request, tenant: str) -> Response:
        key = request.headers["idempotency-key"]
        if key in self.answers:
            status, row = self.answers[key]
            return self.row(row, status)
        row = {self._camel(key): value for key, value in (await request.json()).items()}
        if row["companyName"] == "forbidden name":
            errors = {"CompanyName": ["is not allowed", "choose another"]}
            return self.problem(400, "One or more validation errors occurred.", errors=errors)
        if any(r["email"] == row["email"] for r in self.rows.values() if row["email"] is not None):
            return self.problem(409, "Conflict", detail="the address is taken", errors={"Email": ["is taken"]})
        stamps = {"createdAt": now(), "updatedAt": now(), "createdBy": "u", "updatedBy": "u", "version": 1}
        self.rows[row["id"]] = row = row | stamps | {"tenantId": tenant, "deletedAt": None}
        self.answers[key] = (201, dict(row))
        return self.row(row, 201)

    def _tenant(self, request: Request) -> str | None:
        self.seen.append(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return None if token in self.expired else token.partition("#")[0] or None

    def _camel(self, name: str) -> str:
        return name[0].lower() + name[1:] if self._pascal else name

    def _holds(self, row: dict[str, Any], term: str) -> bool:
        found = TERM.fullmatch(term)
        assert found, term
        value, sign = row[self._camel(found["field"])], found["sign"]
        choices = split(found["value"], "|")
        if choices == ["null"]:
            return (value is None) == (sign == "==")
        if value is None:
            return False
        wanted = [plain(choice) for choice in choices]
        text = value if isinstance(value, str) else json.dumps(value)
        match sign:
            case "==":
                return text in wanted
            case "!=":
                return text not in wanted
            case "@=":
                return wanted[0] in text
            case "_=":
                return text.startswith(wanted[0])
        other = wanted[0] if isinstance(value, str) else json.loads(wanted[0])
        return bool({">": value > other, ">=": value >= other, "<": value < other, "<=": value <= other}[sign])


def split(text: str, mark: str) -> list[str]:
    """The parts between marks that have no backslash before them."""
    parts = re.findall(rf"((?:\\.|[^\\{mark}])*)(?:{re.escape(mark)}|$)", text, re.DOTALL)
    return [part for part in parts if part]


def plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL) if text != "\\null" else "null"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
