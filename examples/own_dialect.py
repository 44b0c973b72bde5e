"""A REST API of one's own, described in a dialect: the file to copy.

The API here wraps rows in `{"data": …}`, calls a company's name just `name`, filters by `filter[status]=active`, pages by `page[number]`,
sorts by `sort=-created_at`, replaces records by PUT and answers errors as `{"error": {"kind", "text", "params"}}`.

Run it with the API's address and a token: `python examples/own_dialect.py https://desk.example.com/v2 TOKEN`.
"""

from __future__ import annotations

import asyncio
import sys
from types import MappingProxyType

from interlock.backends.rest import Dialect, Envelope, Faults, Pages, ParamFilters, RestBackend, RestSettings, Sorting
from interlock.contract import Condition, Identity, Query, Request
from interlock.entities import CUSTOMERS

DESK = Dialect(
    name="desk",
    paths=MappingProxyType({"customers": "accounts"}),
    casing="snake",
    names=MappingProxyType({"customers.company_name": "name", "version": "revision"}),
    paging=Pages("page[number]", "page[size]", largest=100),
    sorting=Sorting("sort", nulls_last="both"),
    filtering=ParamFilters(
        MappingProxyType(
            {
                "eq": "filter[{field}]",
                "gte": "filter[{field}][from]",
                "lte": "filter[{field}][to]",
                "in": "filter[{field}][in]",
                "contains": "filter[{field}][like]",
            }
        )
    ),
    envelope=Envelope(items="data", total="meta.total", item="data", write="data"),
    faults=Faults(
        message="error.text",
        code="error.kind",
        fields="error.params",
        codes=MappingProxyType({"validation": "invalid", "stale": "conflict", "taken": "duplicate"}),
    ),
    update="PUT",
    versions="etag",
)


class OneToken:
    """The same token for everybody: for an API that serves one tenant."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self, identity: Identity, *, refresh: bool = False) -> str:
        return self._token


async def active_customers(base_url: str, token: str) -> list[str]:
    """The names of the first active customers."""
    backend = RestBackend(RestSettings(base_url=base_url, dialect=DESK), (CUSTOMERS,), tokens=OneToken(token))
    try:
        query = Query(where=Condition("status", "eq", "active"), limit=20)
        answer = await backend.handle(Request("find", "customers", Identity("me", "mine", "agent"), query))
        return [row.company_name for row in answer.rows]
    finally:
        await backend.aclose()


if __name__ == "__main__":
    for name in asyncio.run(active_customers(*sys.argv[1:3])):
        print(name)
