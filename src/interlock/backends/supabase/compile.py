"""A Query as PostgREST's parameters. Every value is quoted, so no character of it can be taken for syntax.

All conditions go into one `and=(...)`, where a value may be quoted, and where no field's name can be taken for a parameter of PostgREST's.
`contains` and `startswith` are regular expressions, because in `like` PostgREST turns every `*` into a wildcard, escaped or not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from interlock.contract import Condition, Deleted, Filter, Group, Query, Sort
from interlock.entity import Entity
from interlock.paging import Place

__all__ = ["after", "columns_of", "condition", "conditions", "encoded", "order", "quoted", "text_of"]

ALWAYS: Final = "id.not.is.null"
NEVER: Final = "id.is.null"
"""No row is without an id."""

_OPERATORS: Final[Mapping[str, str]] = {"eq": "eq", "ne": "neq", "lt": "lt", "lte": "lte", "gt": "gt", "gte": "gte"}
_DELETED: Final[Mapping[Deleted, str]] = {"without": "deleted_at.is.null", "only": "deleted_at.not.is.null"}
_SPECIAL: Final = re.compile(r"([\\.^$*+?()\[\]{}|])")


def quoted(text: str) -> str:
    """A value in quotes, as a group or a list of values takes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def encoded(text: str) -> str:
    """As a URL takes it. What of a group's syntax need not be encoded stays; everything of a value's that matters does not."""
    return quote(text, safe=",.:()*")


def text_of(value: Any) -> str:
    """A value as PostgreSQL reads it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date | datetime):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else repr(value)


def conditions(entity: Entity[Any], query: Query, beyond: Filter | None = None) -> str:
    """The parameter `and=(...)`, or nothing: undeleted or not, of the filter, beyond a place."""
    found = [_DELETED[query.deleted]] if query.deleted in _DELETED else []
    found += [condition(entity, where) for where in (query.where, beyond) if where is not None]
    return f"&and=({encoded(','.join(found))})" if found else ""


def condition(entity: Entity[Any], where: Filter) -> str:
    """One filter, as it stands within a group."""
    if isinstance(where, Condition):
        return _comparison(entity, where)
    if not where.items:
        return ALWAYS if where.op == "and" else NEVER
    return f"{where.op}({','.join([condition(entity, item) for item in where.items])})"


def _comparison(entity: Entity[Any], where: Condition) -> str:
    field, op, value = where.field, where.op, where.value
    match op:
        case "is_null":
            return f"{field}.is.null" if value else f"{field}.not.is.null"
        case "in" | "nin":
            return _membership(field, op, value)
        case "between":
            low, high = (quoted(text_of(bound)) for bound in value)
            return f"and({field}.gte.{low},{field}.lte.{high})"
        case "contains" if entity.fields[field].kind == "texts":
            return f"{field}.cs.{quoted('{' + quoted(value) + '}')}"
        case "contains":
            return f"{field}.match.{quoted(_literally(value))}"
        case "startswith":
            return f"{field}.match.{quoted('^' + _literally(value))}"
        case _:
            return f"{field}.{_OPERATORS[op]}.{quoted(text_of(value))}"


def _membership(field: str, op: str, values: tuple[Any, ...]) -> str:
    if not values:
        return NEVER if op == "in" else f"{field}.not.is.null"
    if len(values) == 1:
        # PostgREST takes a list of one empty text for an empty list.
        return f"{field}.{'eq' if op == 'in' else 'neq'}.{quoted(text_of(values[0]))}"
    return f"{field}.{'in' if op == 'in' else 'not.in'}.({','.join([quoted(text_of(value)) for value in values])})"


def _literally(text: str) -> str:
    """A regular expression that matches the text and nothing else."""
    return _SPECIAL.sub(r"\\\1", text)


def order(entity: Entity[Any], sorts: tuple[Sort, ...]) -> str:
    """The order, nulls last both ways."""
    return ",".join([_key(entity, sort) for sort in sorts])


def _key(entity: Entity[Any], sort: Sort) -> str:
    if not sort.descending:
        return f"{sort.field}.asc"
    # Where there are no nulls it is left unsaid, or the index of the default order would not fit.
    return f"{sort.field}.desc.nullslast" if _nullable(entity, sort.field) else f"{sort.field}.desc"


def _nullable(entity: Entity[Any], name: str) -> bool:
    """Server-owned times are optional in a row that is being made, and never null in the table."""
    return entity.fields[name].nullable and name not in ("created_at", "updated_at")


def after(entity: Entity[Any], sorts: tuple[Sort, ...], place: Place) -> Filter:
    """Beyond a place in the order: later in the first key, or the same there and later in the next, and so on; nulls come last."""
    steps: list[Filter] = []
    same: list[Filter] = []
    for sort, value in zip(sorts, place.values, strict=True):
        if value is not None:
            later: Filter = Condition(sort.field, "lt" if sort.descending else "gt", value)
            if _nullable(entity, sort.field):
                later = Group("or", (later, Condition(sort.field, "is_null", True)))
            steps.append(Group("and", (*same, later)))
        same.append(Condition(sort.field, "is_null", True) if value is None else Condition(sort.field, "eq", value))
    return _starting(entity, sorts[0], place.values[0], Group("or", tuple(steps)))


def _starting(entity: Entity[Any], sort: Sort, value: Any, beyond: Filter) -> Filter:
    """Says nothing new: it lets an index begin at the place instead of at the first row."""
    if value is None or _nullable(entity, sort.field):
        return beyond
    return Group("and", (Condition(sort.field, "lte" if sort.descending else "gte", value), beyond))


def columns_of(where: Filter | None) -> dict[str, Any] | None:
    """A filter as the database's own functions read it."""
    if where is None:
        return None
    if isinstance(where, Group):
        return {"op": where.op, "items": [columns_of(item) for item in where.items]}
    value = where.value
    if isinstance(value, tuple):
        value = [text_of(item) for item in value]
    elif where.op != "is_null":
        value = text_of(value)
    return {"field": where.field, "op": where.op, "value": value}
