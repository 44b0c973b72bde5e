"""Dialects: how a REST API speaks. One frozen value describes an API; three are ready.

A dialect says where things are (`paths`, `envelope`), how they are called (`casing`, `names`), how a query is written (`paging`,
`sorting`, `filtering`, `search`), what carries errors and versions, who sets the server-owned fields, and with all of that what the API
cannot do: what it has no word for raises `Unsupported` before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from interlock.backends.rest.filtering import ExpressionFilters, Filtering, ParamFilters
from interlock.errors import Misconfigured

__all__ = [
    "ASPNET",
    "INTERLOCK",
    "JSON_SERVER",
    "PRESETS",
    "Dialect",
    "Envelope",
    "Faults",
    "Pages",
    "Slices",
    "Sorting",
    "dialect_named",
]

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Slices(msgspec.Struct, frozen=True):
    """Paging by position: two parameters, the first row's number and how many rows."""

    start: str = "_start"
    limit: str = "_limit"
    largest: int = 1000


class Pages(msgspec.Struct, frozen=True):
    """Paging by page number. `first` is the number of the first page, `largest` the largest page that the API gives."""

    page: str = "page"
    size: str = "pageSize"
    first: int = 1
    largest: int = 1000


class Sorting(msgspec.Struct, frozen=True):
    """Order by parameters: `field` takes the comma-joined names.

    Directions go into `direction` (a parameter of their own, `asc,desc`), or else a minus stands before a descending name. `nulls_last` says
    in which directions the API puts nulls last; sorting a field that may be null in another one is `Unsupported`.
    """

    field: str = "_sort"
    direction: str | None = None
    nulls_last: Literal["both", "ascending", "neither"] = "neither"


class Envelope(msgspec.Struct, frozen=True):
    """What stands around rows: dotted paths in the JSON answer, "" for none.

    `items` leads to a list's rows, `item` to a single row, `total` to the number of matching rows, which may also come in the header
    `total_header`. `write` is the member that a written row is put under.
    """

    items: str = ""
    total: str = ""
    total_header: str = ""
    item: str = ""
    write: str = ""


class Faults(msgspec.Struct, frozen=True):
    """Where an error body keeps what: dotted paths. `fields` leads to an object of field name to text, or to texts.

    `codes` maps the API's own codes to ours (`duplicate`, `conflict`, `not_found`, …); `texts` does so for pieces of a body that has none.
    """

    message: str = "message"
    code: str = "code"
    fields: str = "errors"
    codes: Mapping[str, str] = _NONE
    texts: Mapping[str, str] = _NONE


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One API's way of speaking.

    - `paths`: the path of each resource that is not simply its name.
    - `casing`, `names`: how fields are called; `names` ("company_name" or "customers.company_name" to the API's name) goes first.
    - `update`: PATCH sends what changes; PUT reads the record, and sends it whole.
    - `versions`: `etag` sends the expected version as If-Match; None: the API has none, and expecting one is `Unsupported`.
    - `operation_header`: the header that makes a write safe to repeat, if there is one.
    - `stamps`: who sets the server-owned fields. `client` is for servers that know nothing of them, such as fakes.
    - `tenancy`: `token`: the API keeps tenants apart by the token; `field`: by the field `tenant_id`, which every query then names.
    - `restore`: what to POST to, behind the record's path, to bring it back. None: deleting is for good.
    - `deleted`: the parameter for `without`, `with`, `only`.
    - `longest_url`: in bytes; a query that needs more is `Unsupported`.
    - `search`: the parameter for a substring search over the searchable fields, if the API's means the same as ours.
    - `own`: the API is Interlock's gateway, with bulk writes, aggregates, changes, files and log-in.
    """

    name: str
    paths: Mapping[str, str] = _NONE
    casing: Literal["camel", "snake", "pascal"] = "camel"
    names: Mapping[str, str] = _NONE
    paging: Slices | Pages = Slices()
    sorting: Sorting | None = Sorting()
    filtering: Filtering = ParamFilters()
    envelope: Envelope = Envelope()
    faults: Faults = Faults()
    update: Literal["PATCH", "PUT"] = "PATCH"
    versions: Literal["etag"] | None = None
    operation_header: str | None = None
    stamps: Literal["server", "client"] = "server"
    tenancy: Literal["token", "field"] = "token"
    decimals: Literal["text", "number"] = "text"
    restore: str | None = None
    deleted: str | None = None
    search: str | None = None
    longest_url: int = 8000
    own: bool = False

    def __post_init__(self) -> None:
        if self.envelope.total and not self.envelope.items:
            raise Misconfigured(
                ["Dialect.envelope: a total in the body needs `items`, for a bare array has no room for it"]
            )


INTERLOCK: Final = Dialect(
    name="interlock",
    versions="etag",
    operation_header="Idempotency-Key",
    restore="restore",
    deleted="_deleted",
    search="_search",
    own=True,
)
"""The gateway of this package: everything the contract has."""

JSON_SERVER: Final = Dialect(
    name="json_server",
    paging=Slices("_start", "_limit"),
    sorting=Sorting("_sort", "_order", nulls_last="ascending"),
    filtering=ParamFilters(
        MappingProxyType({"eq": "{field}", "ne": "{field}_ne", "gte": "{field}_gte", "lte": "{field}_lte"}),
        repeat=True,
    ),
    envelope=Envelope(total_header="X-Total-Count"),
    faults=Faults(texts=MappingProxyType({"duplicate id": "duplicate"})),
    stamps="client",
    tenancy="field",
    decimals="number",
)
"""npm's json-server 0.17: one writer at a time, as the client sets versions and times. Decimals are JSON numbers, so that they compare."""

ASPNET: Final = Dialect(
    name="aspnet",
    paging=Pages("page", "pageSize"),
    sorting=Sorting("sorts", nulls_last="both"),
    filtering=ExpressionFilters("filters"),
    envelope=Envelope(items="items", total="totalCount"),
    faults=Faults(message="detail", code="code", fields="errors"),
    versions="etag",
    operation_header="Idempotency-Key",
    decimals="number",
)
"""ASP.NET Core's habits: pages, `{items, totalCount}`, ProblemDetails, ETags, and filters and sorts as the Sieve package writes them."""

PRESETS: Final[Mapping[str, Dialect]] = MappingProxyType({d.name: d for d in (INTERLOCK, JSON_SERVER, ASPNET)})


def dialect_named(name: str) -> Dialect:
    """A preset by its name. Raises `Misconfigured` naming those that there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise Misconfigured([f"INTERLOCK_API_DIALECT: {name!r} is not one of {', '.join(PRESETS)}"]) from None
