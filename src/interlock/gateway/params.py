"""Query strings: the dialects of the front ends, read into one `Query`.

=============  ================================================================================================
json-server    `_start _end _sort _order`, plain fields with suffix operators, `q`, `id=1&id=2`  (refine too)
simple-rest    `range sort filter` as JSON
ours           `_filter _search _sort _limit _offset _cursor _count _deleted _near`, plain fields too
=============  ================================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from interlock.contract import DEFAULT_LIMIT, Condition, Filter, Group, Near, Query, Sort
from interlock.entity import Entity, Field
from interlock.errors import Invalid
from interlock.gateway.bodies import decode_json, filter_of
from interlock.gateway.problems import Refused, wire
from interlock.validation import check_query, suggest

__all__ = ["Listing", "Parameters", "flag_deleted", "listing_of", "split_query"]

Parameters = list[tuple[str, str | None]]

MAX_PARAMETERS: Final = 5000

_OURS: Final = frozenset({"_filter", "_search", "_limit", "_offset", "_cursor", "_count", "_near"})
_SLICED: Final = frozenset({"_start", "_end", "_order"})
_SIMPLE: Final = frozenset({"range", "sort", "filter"})
_SHARED: Final = frozenset({"_sort", "_deleted"})
_KNOWN: Final = _OURS | _SLICED | _SIMPLE | _SHARED | {"q", "id", "ids"}

_IDS = re.compile(r"ids?(\[\d*\])?")

# A suffix and what it means: an operator of the contract, and for lists of values also how they are joined.
_SUFFIXES: Final[Mapping[str, str]] = {
    "_neq_any": "nin",
    "_eq_any": "in",
    "_inc_any": "any",
    "_inc": "all",
    "_startswith": "startswith",
    "_contains": "contains",
    "_between": "between",
    "_is_null": "is_null",
    "_like": "contains",
    "_neq": "ne",
    "_gte": "gte",
    "_lte": "lte",
    "_nin": "nin",
    "_ne": "ne",
    "_eq": "eq",
    "_gt": "gt",
    "_lt": "lt",
    "_in": "in",
    "_q": "contains",
}


class Listing(msgspec.Struct, frozen=True):
    """What a list asks for: a checked query, or the records of some ids, however many. `start` is for Content-Range."""

    query: Query
    ids: tuple[str, ...] | None = None

    @property
    def counted(self) -> bool:
        """True where the answer says how many there are in all."""
        return self.ids is not None or self.query.count != "none"


def split_query(raw: bytes) -> Parameters:
    """The parameters in their order, decoded; a name without `=` has None. Raises `Invalid` for what is not UTF-8."""
    if not raw:
        return []
    parts = raw.split(b"&")
    if len(parts) > MAX_PARAMETERS:
        raise Refused({"query": f"has more than {MAX_PARAMETERS} parameters; use POST …/_bulk for many ids"})
    parameters: Parameters = []
    for part in parts:
        if not part:
            continue
        name, equals, value = part.partition(b"=")
        parameters.append((_text(name, "query"), _text(value, name.decode("ascii", "replace")) if equals else None))
    return parameters


def _text(quoted: bytes, name: str) -> str:
    try:
        return unquote_to_bytes(quoted.replace(b"+", b" ")).decode()
    except UnicodeDecodeError as error:
        raise Refused({name: "is not UTF-8, percent-encoded; encode it so"}) from error


def flag_deleted(parameters: Parameters) -> Any:
    """The one parameter of a get: `_deleted`."""
    deleted: str | None = "without"
    for name, value in parameters:
        if name != "_deleted":
            raise Refused({name: f"is not a parameter here{suggest(name, ('_deleted',))}"})
        deleted = value
    if deleted not in ("without", "with", "only"):
        raise Refused({"_deleted": "is not one of without, with, only"})
    return deleted


def listing_of(entity: Entity[Any], parameters: Parameters) -> Listing:
    """The listing that the parameters ask for. Raises `Invalid` naming each parameter that is unknown or wrong."""
    given: dict[str, str | None] = {}
    filters: dict[str, list[str | None]] = {}
    ids: list[str] = []
    for name, value in parameters:
        if name in _KNOWN and name not in ("id", "ids") and not _is_field(entity, name):
            if name in given:
                raise Refused({name: "is given twice; give it once"})
            given[name] = value
        elif _IDS.fullmatch(name):
            ids.append(value or "")
        else:
            filters.setdefault(name, []).append(value)
    _check_style(given, bool(filters or ids or "q" in given))
    if ids and not filters and not given.keys() - {"_deleted"}:
        return Listing(Query(deleted=_deleted(given)), tuple(ids))
    if given.keys() & _SIMPLE:
        return _simple(entity, given)
    where: list[Filter] = [_plain_filter(entity, name, values) for name, values in filters.items()]
    if ids:
        where.append(Condition("id", "in", tuple(ids)))
    return _ours(entity, given, where) if given.keys() & _OURS else _sliced(entity, given, where)


def _is_field(entity: Entity[Any], name: str) -> bool:
    return name in entity.by_wire and name not in _SIMPLE


def _check_style(given: Mapping[str, Any], fields: bool) -> None:
    used = [style for style in (_OURS, _SLICED, _SIMPLE) if given.keys() & style]
    if _SIMPLE in used and (fields or "_sort" in given):
        used.append(_SLICED)
    if len(used) > 1:
        names = sorted(given.keys() & (_OURS | _SLICED | _SIMPLE))
        raise Refused(
            dict.fromkeys(
                names,
                "mixes two styles; use one of _start/_end/_sort/_order, range/sort/filter, _limit/_offset/_filter",
            )
        )


def _deleted(given: Mapping[str, str | None]) -> Any:
    return flag_deleted([("_deleted", given["_deleted"])] if "_deleted" in given else [])


# -- json-server and refine ---------------------------------------------------------------------------------------


def _sliced(entity: Entity[Any], given: Mapping[str, str | None], where: list[Filter]) -> Listing:
    start = _number(given, "_start", 0)
    limit = DEFAULT_LIMIT
    if given.get("_end") is not None:
        limit = _number(given, "_end", 0) - start
        if limit < 1:
            raise Refused({"_end": "is not behind _start"})
    query = Query(
        where=_joined(where),
        search=given.get("q") or None,
        sort=_ordered(entity, given),
        limit=limit,
        offset=start,
        count="exact",
        deleted=_deleted(given),
    )
    return _checked(entity, query, {"limit": "_end", "offset": "_start", "search": "q"})


def _ordered(entity: Entity[Any], given: Mapping[str, str | None]) -> tuple[Sort, ...]:
    fields = [name for name in (given.get("_sort") or "").split(",") if name]
    orders = [order for order in (given.get("_order") or "").split(",") if order]
    if len(orders) > len(fields):
        raise Refused({"_order": "has more directions than _sort has fields"})
    orders += ["asc"] * (len(fields) - len(orders))
    sorts = []
    for field, order in zip(fields, orders, strict=True):
        if order.lower() not in ("asc", "desc"):
            raise Refused({"_order": f"{order[:50]!r} is neither asc nor desc"})
        minus = field.startswith("-") and "_order" not in given
        sorts.append(
            Sort(_field(entity, field[1:] if minus else field, "_sort").name, minus or order.lower() == "desc")
        )
    return tuple(sorts)


# -- simple-rest --------------------------------------------------------------------------------------------------


def _simple(entity: Entity[Any], given: Mapping[str, str | None]) -> Listing:
    filters = _json(given, "filter", dict, {})
    paged = "range" in given or "sort" in given
    if filters.keys() == {"id"} and isinstance(filters["id"], list) and not paged:
        ids = tuple(value if isinstance(value, str) else str(value)[:50] for value in filters["id"])
        return Listing(Query(deleted=_deleted(given)), ids)
    offset, limit = 0, DEFAULT_LIMIT
    if "range" in given:
        bounds = _json(given, "range", list, [])
        if len(bounds) != 2 or not all(type(bound) is int for bound in bounds) or bounds[0] < 0:
            raise Refused({"range": "is not a pair of positions such as [0,24]"})
        offset, limit = bounds[0], bounds[1] - bounds[0] + 1
    search = filters.pop("q", None) if "q" not in entity.by_wire else None
    if search is not None and not isinstance(search, str):
        raise Refused({"q": "is not a text"})
    query = Query(
        where=_joined([_json_filter(entity, name, value) for name, value in filters.items()]),
        search=search or None,
        sort=_pairs(entity, _json(given, "sort", list, [])),
        limit=limit,
        offset=offset,
        count="exact",
        deleted=_deleted(given),
    )
    return _checked(entity, query, {"limit": "range", "offset": "range", "search": "q"})


def _pairs(entity: Entity[Any], listed: list[Any]) -> tuple[Sort, ...]:
    flat = [part for item in listed for part in (item if isinstance(item, list) else [item])]
    if len(flat) % 2 or not all(isinstance(part, str) for part in flat):
        raise Refused({"sort": 'is not a pair such as ["companyName","ASC"]'})
    sorts = []
    for field, order in zip(flat[::2], flat[1::2], strict=True):
        if order.lower() not in ("asc", "desc"):
            raise Refused({"sort": f"{order[:50]!r} is neither ASC nor DESC"})
        sorts.append(Sort(_field(entity, field, "sort").name, order.lower() == "desc"))
    return tuple(sorts)


def _json(given: Mapping[str, str | None], name: str, kind: type[Any], default: Any) -> Any:
    text = given.get(name)
    if not text:
        return default
    value = decode_json(text.encode("utf-8", "surrogatepass"), name)
    if not isinstance(value, kind):
        raise Refused({name: f"is not a JSON {'object' if kind is dict else 'array'}"})
    return value


# -- ours ---------------------------------------------------------------------------------------------------------


def _ours(entity: Entity[Any], given: Mapping[str, str | None], where: list[Filter]) -> Listing:
    if "q" in given and "_search" in given:
        raise Refused({"q": "is another name of _search; give one of them"})
    if given.get("_filter"):
        where.insert(0, filter_of(entity, _json(given, "_filter", dict, {}), "_filter"))
    sort = []
    for part in (given.get("_sort") or "").split(","):
        if part:
            field = _field(entity, part.removeprefix("-"), "_sort")
            sort.append(Sort(field.name, part.startswith("-")))
    count: Any = given.get("_count") or "none"
    query = Query(
        where=_joined(where),
        search=given.get("_search", given.get("q")),
        sort=tuple(sort),
        limit=_number(given, "_limit", DEFAULT_LIMIT),
        offset=_number(given, "_offset", 0),
        cursor=given.get("_cursor") or None,
        count=count,
        deleted=_deleted(given),
        near=_near(given),
    )
    names = {name: f"_{name}" for name in ("limit", "offset", "cursor", "count", "near", "search")}
    return _checked(entity, query, names)


def _near(given: Mapping[str, str | None]) -> Near | None:
    text = given.get("_near")
    if not text:
        return None
    try:
        lat, lon, km = (float(part) for part in text.split(","))
    except ValueError as error:
        raise Refused({"_near": "is not latitude,longitude,kilometres such as 52.52,13.40,10"}) from error
    return Near(lat, lon, km)


# -- filters ------------------------------------------------------------------------------------------------------


def _resolve(entity: Entity[Any], name: str) -> tuple[Field, str]:
    """The field and the operator that a filter's name means: the field list first, then the suffixes."""
    field = entity.by_wire.get(name)
    if field is not None:
        return field, ""
    for suffix, op in _SUFFIXES.items():
        if name.endswith(suffix) and (field := entity.by_wire.get(name[: -len(suffix)])) is not None:
            return field, op
    raise Refused(
        {name: f"is not a field or parameter of {entity.resource}{suggest(name, (*entity.by_wire, *_KNOWN))}"}
    )


def _plain_filter(entity: Entity[Any], name: str, values: list[str | None]) -> Filter:
    field, op = _resolve(entity, name)
    many = [value for value in values if value is not None]
    if not many:
        return Condition(field.name, "is_null", op != "ne")
    if op in ("in", "nin", "between") and len(many) == 1:
        many = many[0].split(",")
    return _filter(field, op, many if len(many) > 1 or op in ("in", "nin", "between", "any", "all") else many[0])


def _json_filter(entity: Entity[Any], name: str, value: Any) -> Filter:
    field, op = _resolve(entity, name)
    return _filter(field, op, value)


def _filter(field: Field, op: str, value: Any) -> Filter:
    """One filter from a front end. A list means any of its values, on a list field all of them."""
    if value is None:
        return Condition(field.name, "is_null", op != "ne")
    if field.kind == "texts" and op != "is_null":
        values = value if isinstance(value, list) else [value]
        held = tuple(Condition(field.name, "contains", item) for item in values)
        if op in ("", "eq", "all", "contains", "any", "in"):
            return held[0] if len(held) == 1 else Group("or" if op in ("any", "in") else "and", held)
        return Condition(field.name, "ne", value)  # refused by the check, which names the field and what exists
    if op in ("any", "all"):
        op = "in"
    if isinstance(value, list):
        joined: Any = {"": "in", "eq": "in", "ne": "nin"}.get(op, op)
        return Condition(field.name, joined, tuple(value))
    wanted: Any = op or "eq"
    return Condition(field.name, wanted, (value,) if wanted in ("in", "nin") else value)


def _joined(where: Iterable[Filter]) -> Filter | None:
    items = tuple(where)
    if not items:
        return None
    return items[0] if len(items) == 1 else Group("and", items)


# -- checks -------------------------------------------------------------------------------------------------------


def _field(entity: Entity[Any], wire: str, parameter: str) -> Field:
    field = entity.by_wire.get(wire)
    if field is None:
        raise Refused({parameter: f"{wire[:100]!r} is not a field of {entity.resource}{suggest(wire, entity.by_wire)}"})
    return field


def _number(given: Mapping[str, str | None], name: str, default: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise Refused({name: "is not a whole number, 0 or more"})
    return int(text)


def _checked(entity: Entity[Any], query: Query, names: Mapping[str, str]) -> Listing:
    """The listing, its values in their fields' types; what is wrong is told under the parameter's name."""
    try:
        return Listing(check_query(entity, query, lax=True))
    except Invalid as error:
        raise Refused({names.get(name) or wire(name, entity): text for name, text in error.fields.items()}) from error
