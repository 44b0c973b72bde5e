"""The waist: plain frozen values, and one verb over them.

Everything above (services, gateway, console, CLI) speaks to everything below (layers, backends) through
`Backend.handle`. What each case means is decided here and held by the conformance suite; no backend may decide for itself:

- Rows are instances of the entity's Struct, in both directions, and deeply immutable.
- The tenant comes from `Request.identity` alone. A record of another tenant is not found.
- Server-owned fields (`SERVER_OWNED`) are set by the backend; in a row to create they have their defaults.
- A write answers one `Outcome` per item, in order. An error of one item is a value in its outcome; an error of the whole
  call is raised, and then nothing was written, except for `OutcomeUnknown`.
- A write carries an operation id. The same id again returns the first outcomes and writes nothing.
- A null matches no comparison, neither `eq`, `ne` nor `nin`; only `is_null` speaks of nulls.
- `contains` and `startswith` compare code points as they are; `search` folds both sides with `str.lower`.
  All of their characters are literal.
- Sorting is by code point for text, false before true, nulls last in both directions, and always ends in `id` (ascending).
  The default order is `created_at` descending, then `id`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, Literal, Protocol, TypeVar

import msgspec

__all__ = [
    "SERVER_OWNED",
    "Aggregate",
    "Backend",
    "Change",
    "Condition",
    "Count",
    "Deleted",
    "Filter",
    "Group",
    "GroupBy",
    "GroupRow",
    "Identity",
    "Measure",
    "Near",
    "Operator",
    "Outcome",
    "Page",
    "Point",
    "Query",
    "Record",
    "Request",
    "Response",
    "Role",
    "Sort",
    "Verb",
    "canonical",
]

R = TypeVar("R")

Verb = Literal["find", "get", "create", "update", "delete", "restore", "aggregate", "put"]
Operator = Literal["eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "contains", "startswith", "between", "is_null"]
Role = Literal["admin", "manager", "agent", "viewer", "system"]
Count = Literal["none", "exact", "estimated"]
Deleted = Literal["without", "with", "only"]

SERVER_OWNED: Final = frozenset(
    {"tenant_id", "created_at", "updated_at", "created_by", "updated_by", "version", "deleted_at"}
)
"""The fields that a backend sets. A caller who sends one gets `Invalid`."""

MAX_LIMIT: Final = 1000
DEFAULT_LIMIT: Final = 50


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """What every entity carries. Names are snake_case in Python and camelCase in JSON.

    `id` is a canonical UUIDv7 string; "" in a row to create asks the service to mint one. Times are UTC with microseconds.
    """

    resource: ClassVar[str] = ""

    id: str = ""
    tenant_id: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    created_by: str | None = None
    updated_by: str | None = None
    version: int = 0
    deleted_at: datetime | None = None


class Point(msgspec.Struct, frozen=True, gc=False):
    """A place on the sphere, in degrees: latitude -90 to 90, longitude -180 to 180."""

    lat: float
    lon: float


class Identity(msgspec.Struct, frozen=True):
    """Who calls, for which tenant, in which role. `email` is for display and for federated log-ins."""

    user_id: str
    tenant_id: str
    role: Role
    email: str = ""


class Condition(msgspec.Struct, frozen=True, tag="condition"):
    """One comparison.

    `value` has the field's own Python type; for `in` and `nin` a tuple of them, for `between` a pair (both ends
    included), for `is_null` a bool. On a list field `contains` asks for one element, and only `contains` and `is_null` exist.
    """

    field: str
    op: Operator
    value: Any


class Group(msgspec.Struct, frozen=True, tag="group"):
    """All (`and`) or any (`or`) of its items. An empty `and` holds for every row, an empty `or` for none."""

    op: Literal["and", "or"]
    items: tuple[Condition | Group, ...]


Filter = Condition | Group


class Sort(msgspec.Struct, frozen=True):
    """One key of an order."""

    field: str
    descending: bool = False


class Near(msgspec.Struct, frozen=True):
    """Within `km` kilometres (great circle, sphere of radius 6371.0088 km) of a point, on the entity's location field."""

    lat: float
    lon: float
    km: float


class Query(msgspec.Struct, frozen=True):
    """Which rows, in which order, which part of them. `offset` and `cursor` exclude each other.

    With `near` and no `sort`, the nearest come first. `count` says how `Response.total` is had.
    """

    where: Filter | None = None
    search: str | None = None
    sort: tuple[Sort, ...] = ()
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    cursor: str | None = None
    count: Count = "none"
    deleted: Deleted = "without"
    near: Near | None = None


class GroupBy(msgspec.Struct, frozen=True):
    """A field to group by; times and dates may be cut to a UTC `day`, `month` or `year` (keys "2026-11-23", "2026-11", "2026")."""

    field: str
    bucket: Literal["day", "month", "year"] | None = None


class Measure(msgspec.Struct, frozen=True):
    """`count` of rows (no field), or the `sum`, `min` or `max` of a field's non-null values (None where there are none)."""

    op: Literal["count", "sum", "min", "max"]
    field: str | None = None


class Aggregate(msgspec.Struct, frozen=True):
    """What to compute for each group. A sum of a money field needs its currency field among the groups."""

    group_by: tuple[GroupBy, ...] = ()
    measures: tuple[Measure, ...] = (Measure("count"),)


class GroupRow(msgspec.Struct, frozen=True):
    """One group: its key (one value per `group_by`, text for a bucket) and one value per measure."""

    key: tuple[Any, ...]
    values: tuple[Any, ...]


class Request(msgspec.Struct, frozen=True):
    """One call.

    =========  =======================================================================================
    verb       reads
    =========  =======================================================================================
    find       `query`
    get        `ids` (no limit; missing and deleted ones are absent unless `query.deleted` says otherwise)
    aggregate  `query` (where, search, deleted), `aggregate`
    create     `rows`
    update     `ids`, `patch` (field name to value; null clears), `expected_version`
    delete     `ids`, `expected_version` (soft: sets `deleted_at`)
    restore    `ids`, `expected_version`
    put        `rows` (exact images, server-owned fields included), `sequence` (written where the stored one is lower)
    =========  =======================================================================================

    `deadline` is in seconds of the event loop's clock (`loop.time()`). `epoch` is the route's.
    """

    verb: Verb
    resource: str
    identity: Identity
    query: Query | None = None
    ids: tuple[str, ...] = ()
    rows: tuple[Record, ...] = ()
    patch: MappingProxyType[str, Any] | None = None
    expected_version: int | None = None
    aggregate: Aggregate | None = None
    operation_id: str = ""
    sequence: int = 0
    deadline: float | None = None
    epoch: int = 0


class Outcome(msgspec.Struct, frozen=True):
    """What became of one item of a write: its row as written, or the `InterlockError` that stopped it.

    A `put` whose sequence was not higher has `row` None and `error` None.
    """

    id: str
    row: Record | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """True where the item was written, or needed no writing."""
        return self.error is None


class Response(msgspec.Struct, frozen=True):
    """One answer. Reads fill `rows` (or `groups`), writes fill `outcomes`.

    `get` answers the rows in the order of the ids asked for. `total` is None where `count` was none. `next_cursor` is None on the
    last page. `backend`, `cached` and `epoch` say who answered; `stale` marks an answer that stands in for a backend that is away.
    """

    rows: tuple[Any, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    groups: tuple[GroupRow, ...] = ()
    total: int | None = None
    next_cursor: str | None = None
    backend: str = ""
    cached: bool = False
    epoch: int = 0
    stale: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One accepted write, as `changes()` yields it. `record_id` and `row` are of the watching tenant only.

    `resync` says that changes may have been missed since the last one: read again. `position` resumes after this change.
    """

    kind: Literal["created", "updated", "deleted", "restored", "resync"]
    resource: str
    record_id: str = ""
    version: int = 0
    row: Any = None
    position: str = ""


class Backend(Protocol):
    """Where a service runs. One verb.

    Raises only the errors of `interlock.errors`.
    """

    async def handle(self, request: Request) -> Response: ...


class Page(msgspec.Struct, Generic[R], frozen=True):
    """A page of records, as the services give it. Iterating it iterates its items."""

    items: tuple[R, ...]
    total: int | None = None
    next_cursor: str | None = None
    backend: str = ""
    cached: bool = False
    epoch: int = 0
    stale: bool = False

    def __iter__(self) -> Iterator[R]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


_canonical = msgspec.json.Encoder(order="sorted", enc_hook=lambda value: dict(value))


def canonical(request: Request) -> bytes:
    """The one encoding of a request: equal requests of one tenant, identity and epoch have equal bytes.

    Without `deadline`, which changes no answer. It is the cache key, the single-flight key and the queued write.
    """
    return _canonical.encode(msgspec.structs.replace(request, deadline=None))
