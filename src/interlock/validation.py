"""Input is checked here, once, for every backend: values against their fields, queries against the entity.

Every message names the field and the mend. What passes is safe to hand to any backend: text without control characters or lone
surrogates, finite numbers, times in UTC, known fields with operators that they have.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_args

import msgspec

from interlock.contract import MAX_LIMIT, Aggregate, Condition, Filter, Group, GroupBy, Operator, Point, Query, Record
from interlock.entity import Entity, Field
from interlock.errors import Invalid
from interlock.identifiers import is_id, new_id

__all__ = ["check_aggregate", "check_patch", "check_query", "check_row", "check_value", "suggest"]

R = TypeVar("R", bound=Record)

MAX_FILTERS: Final = 200
MAX_DEPTH: Final = 16
MAX_VALUES: Final = 10_000
MAX_INT: Final = 2**53 - 1
MAX_MONEY: Final = Decimal(10) ** 12
MAX_SEARCH: Final = 500

_OPERATORS: Final = frozenset(get_args(Operator))
_FORBIDDEN_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def suggest(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?", or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _clean_text(text: str) -> str:
    if found := _FORBIDDEN_TEXT.search(text):
        raise ValueError(f"has the character U+{ord(found.group()):04X} at {found.start()}; remove it")
    return text


def _clean(value: Any) -> Any:
    """The value as every backend keeps it. Raises ValueError with the mend."""
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int) and abs(value) > MAX_INT:
        raise ValueError(f"is beyond ±{MAX_INT}")
    if isinstance(value, Decimal):
        return _clean_decimal(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise ValueError("is not a finite number")
    if isinstance(value, datetime):
        return _clean_time(value)
    if isinstance(value, Point):
        if not (-90 <= value.lat <= 90 and -180 <= value.lon <= 180):
            raise ValueError("needs a latitude from -90 to 90 and a longitude from -180 to 180, in degrees")
        return value
    if isinstance(value, tuple):
        return tuple(_clean(item) for item in value)
    return value


def _clean_decimal(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError("is not a finite number")
    if abs(value) >= MAX_MONEY:
        raise ValueError("has more than 12 digits before the point")
    if value != round(value, 4):
        raise ValueError("has more than 4 digits after the point")
    shortest = value.normalize()
    return shortest if shortest.as_tuple().exponent <= 0 else shortest.quantize(Decimal(1))  # type: ignore[operator]  # a finite number's exponent is an int


def _clean_time(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("has no time zone; add one, such as Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None


def check_value(field: Field, value: Any, *, lax: bool = False) -> Any:
    """The value in the field's type. `lax` also reads numbers and booleans from text. Raises ValueError with the mend."""
    if isinstance(value, list):
        value = tuple(value)
    if field.kind in {"int", "decimal"} and not _finite(value):
        raise ValueError("is not a finite number")
    if isinstance(value, datetime) and field.kind == "date":
        raise ValueError("is a time; give a date")
    try:
        converted = msgspec.convert(value, field.python, strict=not lax)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise ValueError(_mend(field, str(error))) from error
    except UnicodeEncodeError as error:
        raise ValueError("has a lone surrogate; remove it") from error
    clean = _clean(converted)
    if isinstance(clean, Decimal) and (least := _least(field.python)) is not None and clean < least:
        raise ValueError(f"is less than {least}")
    return clean


def _finite(value: Any) -> bool:
    return value.is_finite() if isinstance(value, Decimal) else not isinstance(value, float) or math.isfinite(value)


def _least(annotation: Any) -> int | None:
    """The bound that msgspec keeps for a Decimal and does not check."""
    metas = (item for item in get_args(annotation) if isinstance(item, msgspec.Meta))
    found = next((meta.extra["least"] for meta in metas if meta.extra and "least" in meta.extra), None)
    return found if found is not None else next(filter(None.__ne__, map(_least, get_args(annotation))), None)


def _mend(field: Field, native: str) -> str:
    text = native.replace("`", "'").replace(" - at '$'", "")
    if field.choices:
        return f"{text}; choose one of {', '.join(field.choices)}"
    if field.kind == "datetime":
        return f"{text}; write a time such as 2026-01-31T09:30:00Z"
    if field.kind == "date":
        return f"{text}; write a date such as 2026-01-31"
    if field.kind == "decimal":
        return f"{text}; write an amount such as 1250.50"
    return text


def check_row(entity: Entity[R], values: R | Mapping[str, Any], *, lax: bool = False) -> R:
    """A row to create, complete and clean, with its id minted if there was none. Raises `Invalid` naming every bad field."""
    if isinstance(values, Record):
        values = {name: value for name in entity.fields if (value := getattr(values, name)) is not msgspec.UNSET}
        values = {name: value for name, value in values.items() if not _is_default(entity, name, value)}
    if not lax and (row := _at_once(entity, values)) is not None:
        return row
    problems: dict[str, str] = {}
    clean: dict[str, Any] = {}
    for name, value in values.items():
        field = entity.fields.get(name)
        if field is None:
            problems[name] = f"is not a field of {entity.resource}{suggest(name, entity.writable)}"
        elif field.server_owned:
            problems[name] = "is set by the service; leave it out"
        elif name == "id":
            if value and not (isinstance(value, str) and is_id(value)):
                problems[name] = "is not a canonical UUIDv7; leave it out to have one made"
            clean["id"] = value
        else:
            try:
                clean[name] = check_value(field, value, lax=lax)
            except ValueError as error:
                problems[name] = str(error)
    for name, field in entity.fields.items():
        if field.required and name not in values:
            problems[name] = "is required"
    if problems:
        raise Invalid(problems)
    clean["id"] = clean.get("id") or new_id()
    return entity.record(**clean)


def _at_once(entity: Entity[R], values: Mapping[str, Any]) -> R | None:
    """The row by one conversion; None where it is not plainly good, and the fields must be looked at one by one to say why."""
    wired: dict[str, Any] = {}
    for name, value in values.items():
        field = entity.fields.get(name)
        if field is None or field.server_owned or (field.kind == "date" and isinstance(value, datetime)):
            return None
        wired[field.wire] = value
    named = wired.get("id")
    if not named:
        wired["id"] = new_id()
    elif not (isinstance(named, str) and is_id(named)):
        return None
    try:
        row = msgspec.convert(wired, entity.record)
        changed = {}
        for name in values:
            value = getattr(row, name)
            # money has bounds that the conversion does not know
            clean = check_value(entity.fields[name], value) if isinstance(value, Decimal) else _clean(value)
            if clean is not value:
                changed[name] = clean
    except (msgspec.ValidationError, ValueError, OverflowError, RecursionError):
        return None
    return msgspec.structs.replace(row, **changed) if changed else row


def _is_default(entity: Entity[Any], name: str, value: Any) -> bool:
    """A server-owned field (or the id) left as the Struct has it, so nothing that the caller gave."""
    return (entity.fields[name].server_owned or name == "id") and value in (None, "", 0)


def check_patch(entity: Entity[Any], values: Mapping[str, Any], *, lax: bool = False) -> MappingProxyType[str, Any]:
    """A patch in the fields' types, frozen. Raises `Invalid` naming every bad field."""
    problems: dict[str, str] = {}
    clean: dict[str, Any] = {}
    for name, value in values.items():
        field = entity.fields.get(name)
        if field is None:
            problems[name] = f"is not a field of {entity.resource}{suggest(name, entity.writable)}"
        elif field.server_owned or name == "id":
            problems[name] = "is set by the service; leave it out"
        else:
            try:
                clean[name] = check_value(field, value, lax=lax)
            except ValueError as error:
                problems[name] = str(error)
    if problems:
        raise Invalid(problems)
    return MappingProxyType(clean)


def check_query(entity: Entity[Any], query: Query, *, lax: bool = False) -> Query:
    """The query with its values in their fields' types. Raises `Invalid` naming what is unknown or out of range."""
    problems: dict[str, str] = {}
    if not 1 <= query.limit <= MAX_LIMIT:
        problems["limit"] = f"is {query.limit}; give 1 to {MAX_LIMIT}"
    if not 0 <= query.offset <= MAX_INT:
        problems["offset"] = f"is {query.offset}; give 0 or more"
    if query.offset and query.cursor:
        problems["cursor"] = "excludes offset; give one of them"
    if query.count not in ("none", "exact", "estimated"):
        problems["count"] = "is not one of none, exact, estimated"
    if query.deleted not in ("without", "with", "only"):
        problems["deleted"] = "is not one of without, with, only"
    for sort in query.sort:
        found = entity.fields.get(sort.field)
        if found is None:
            problems[sort.field] = (
                f"cannot be sorted by: not a field of {entity.resource}{suggest(sort.field, entity.fields)}"
            )
        elif not found.comparable:
            problems[sort.field] = f"cannot be sorted by: a {found.kind} has no order"
    if query.search is not None:
        _check_search(entity, query.search, problems)
    if query.near is not None:
        _check_near(entity, query, problems)
    where = query.where
    if where is not None:
        where = _check_filter(entity, where, problems, lax=lax)
    if problems:
        raise Invalid(problems)
    return query if where is query.where else msgspec.structs.replace(query, where=where)


def _check_search(entity: Entity[Any], search: str, problems: dict[str, str]) -> None:
    if not isinstance(search, str) or len(search) > MAX_SEARCH:
        problems["search"] = f"is not a text of at most {MAX_SEARCH} characters"
    elif not entity.searchable:
        problems["search"] = f"{entity.resource} has no searchable fields; filter instead"
    else:
        try:
            _clean_text(search)
        except ValueError as error:
            problems["search"] = str(error)


def _check_near(entity: Entity[Any], query: Query, problems: dict[str, str]) -> None:
    near = query.near
    assert near is not None  # noqa: S101 - the caller looked
    if entity.location is None:
        problems["near"] = f"{entity.resource} have no location"
    elif query.cursor or query.sort:
        problems["near"] = "comes with its own order, the nearest first; leave out sort and cursor"
    elif not (-90 <= near.lat <= 90 and -180 <= near.lon <= 180 and 0 <= near.km <= 20_038):
        problems["near"] = "needs a latitude from -90 to 90, a longitude from -180 to 180 and 0 to 20038 km"


def _check_filter(entity: Entity[Any], where: Filter, problems: dict[str, str], *, lax: bool, depth: int = 0) -> Filter:
    if depth > MAX_DEPTH:
        problems["where"] = f"is nested deeper than {MAX_DEPTH}; flatten it"
        return where
    if isinstance(where, Group):
        if where.op not in ("and", "or") or len(where.items) > MAX_FILTERS:
            problems["where"] = f"a group is `and` or `or`, of at most {MAX_FILTERS} items"
            return where
        items = tuple(_check_filter(entity, item, problems, lax=lax, depth=depth + 1) for item in where.items)
        return Group(where.op, items)
    try:
        return _check_condition(entity, where, lax=lax)
    except ValueError as error:
        problems[where.field] = str(error)
        return where


def _check_condition(entity: Entity[Any], where: Condition, *, lax: bool) -> Condition:
    field = entity.fields.get(where.field)
    if field is None:
        raise ValueError(f"is not a field of {entity.resource}{suggest(where.field, entity.fields)}")
    if where.op not in _OPERATORS:
        raise ValueError(f"has no operator {where.op!r}{suggest(str(where.op), _OPERATORS)}")
    if where.op == "is_null":
        return Condition(where.field, "is_null", _flag(where.value, lax=lax))
    if field.kind == "texts":
        if where.op != "contains" or not isinstance(where.value, str):
            raise ValueError("is a list: only `contains` (one text) and `is_null` exist")
        return Condition(where.field, where.op, _clean_text(where.value))
    if not field.comparable:
        raise ValueError(f"is a {field.kind}: only `is_null` exists")
    return Condition(where.field, where.op, _operand(field, where, lax=lax))


def _operand(field: Field, where: Condition, *, lax: bool) -> Any:
    if where.op in ("in", "nin", "between"):
        if not isinstance(where.value, (list, tuple, set, frozenset)):
            raise ValueError(f"{where.op} takes a list")
        values = tuple(_comparable(field, value, lax=lax) for value in where.value)
        if where.op == "between" and len(values) != 2:
            raise ValueError("between takes two values, both ends included")
        if len(values) > MAX_VALUES:
            raise ValueError(f"has more than {MAX_VALUES} values")
        return values
    if where.op in ("contains", "startswith"):
        if field.kind not in ("text", "choice", "id"):
            raise ValueError(f"is a {field.kind}: {where.op} is for text")
        if not isinstance(where.value, str):
            raise ValueError(f"{where.op} takes a text")
        return _clean_text(where.value)
    return _comparable(field, where.value, lax=lax)


_PLAIN: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "id": str,
        "text": str,
        "int": int,
        "float": float,
        "decimal": Decimal,
        "bool": bool,
        "date": date,
        "datetime": datetime,
    }
)


def _comparable(field: Field, value: Any, *, lax: bool) -> Any:
    """A value to compare with: the field's type without its constraints; a choice must exist."""
    if value is None:
        raise ValueError("is compared with null; use is_null")
    python = _PLAIN.get(field.kind, field.python)
    return check_value(msgspec.structs.replace(field, python=python), value, lax=lax)


def _flag(value: Any, *, lax: bool) -> bool:
    if isinstance(value, bool):
        return value
    if lax and str(value).lower() in ("true", "false", "1", "0"):
        return str(value).lower() in ("true", "1")
    raise ValueError("is_null takes true or false")


def check_aggregate(entity: Entity[Any], aggregate: Aggregate) -> Aggregate:
    """Raises `Invalid` for unknown fields, for measures that a field does not have, and for sums of money across currencies."""
    problems: dict[str, str] = {}
    for group in aggregate.group_by:
        _check_group(entity, group, problems)
    groups = {group.field for group in aggregate.group_by}
    for measure in aggregate.measures:
        if measure.op == "count" and measure.field is None:
            continue
        field = entity.fields.get(measure.field or "")
        if field is None or measure.op == "count":
            problems[measure.field or "measures"] = "count takes no field, and sum, min and max one of the entity"
        elif measure.op == "sum" and field.kind not in ("int", "float", "decimal"):
            problems[field.name] = f"is a {field.kind} and has no sum"
        elif not field.comparable:
            problems[field.name] = f"is a {field.kind} and has no {measure.op}"
        else:
            money = next((m for m in entity.money if m.amount == field.name), None)
            if money and measure.op == "sum" and money.currency not in groups:
                problems[field.name] = f"is money: group by {money.currency} too"
    if problems:
        raise Invalid(problems)
    return aggregate


def _check_group(entity: Entity[Any], group: GroupBy, problems: dict[str, str]) -> None:
    field = entity.fields.get(group.field)
    if field is None:
        problems[group.field] = f"is not a field of {entity.resource}{suggest(group.field, entity.fields)}"
    elif not field.comparable:
        problems[group.field] = f"is a {field.kind} and cannot be grouped by"
    elif group.bucket is not None and field.kind not in ("date", "datetime"):
        problems[group.field] = f"is a {field.kind}: only times and dates have a {group.bucket}"
