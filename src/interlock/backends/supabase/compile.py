"""A Query as PostgREST's parameters. Every value is quoted, so no character of it can be taken for syntax.

All conditions go into one `and=(...)`, where a value may be quoted: a parameter of a column's own could not carry every character.
`contains` and `startswith` are regular expressions, because in `like` PostgREST turns every `*` into a wildcard, escaped or not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from interlock.contract import Condition, Deleted, Filter, Group, Query, Sort
from interlock.entity import Entity, fold
from interlock.paging import Place

__all__ = ["NEVER", "after", "beyond", "columns_of", "conditions", "literally", "order", "quoted", "text_of"]

NEVER: Final = "id.is.null"
"""No row has no id."""

_OPERATORS: Final[Mapping[str, str]] = {"eq": "eq", "ne": "neq", "lt": "lt", "lte": "lte", "gt": "gt", "gte": "gte"}
_DELETED: Final[Mapping[Deleted, str]] = {"without": "deleted_at.is.null", "only": "deleted_at.not.is.null"}
_SPECIAL: Final = re.compile(r"([\\.^$*+?()\[\]{}|])")


def quoted(text: str) -> str:
    """A value in quotes, as a group or a list of values takes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def text_of(value: Any) -> str:
    """A value as PostgreSQL reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return repr(value) if isinstance(value, float) else str(value)


def literally(text: str) -> str:
    """A regular expression that matches the text and nothing else."""
    return _SPECIAL.sub(r"\\\1", text)


def conditions(entity: Entity[Any], query: Query) -> list[str]:
    """What a row must be: undeleted or not, of the filter, of the search."""
    found = [_DELETED[query.deleted]] if query.deleted in _DELETED else []
    if query.where is not None:
        found.append(condition(entity, query.where))
    if query.search:
        found.append(f"search_text.match.{quoted(literally(fold(query.search)))}")
    return found


def condition(entity: Entity[Any], where: Filter) -> str:
    """One filter, as it stands within a group."""
    if isinstance(where, Condition):
        return _comparison(entity, where)
    if not where.items:
        return "id.not.is.null" if where.op == "and" else NEVER
    return f"{where.op}({','.join(condition(entity, item) for item in where.items)})"


def _comparison(entity: Entity[Any], where: Condition) -> str:
    field, op, value = where.field, where.op, where.value
    match op:
        case "is_null":
            return f"{field}.is.null" if value else f"{field}.not.is.null"
        case "in":
            return f"{field}.in.({_list(value)})" if value else NEVER
        case "nin":
            return f"{field}.not.in.({_list(value)})" if value else f"{field}.not.is.null"
        case "between":
            low, high = (quoted(text_of(bound)) for bound in value)
            return f"and({field}.gte.{low},{field}.lte.{high})"
        case "contains" if entity.fields[field].kind == "texts":
            return f"{field}.cs.{quoted('{' + quoted(value) + '}')}"
        case "contains":
            return f"{field}.match.{quoted(literally(value))}"
        case "startswith":
            return f"{field}.match.{quoted('^' + literally(value))}"
        case _:
            return f"{field}.{_OPERATORS[op]}.{quoted(text_of(value))}"


def _list(values: tuple[Any, ...]) -> str:
    return ",".join(quoted(text_of(value)) for value in values)


def order(entity: Entity[Any], sorts: tuple[Sort, ...]) -> str:
    """The order, nulls last both ways."""
    parts = []
    for sort in sorts:
        direction = "desc" if sort.descending else "asc"
        # Where there are no nulls it is left unsaid, or the index on the default order would not fit.
        nulls = ".nullslast" if sort.descending and _nullable(entity, sort.field) else ""
        parts.append(f"{sort.field}.{direction}{nulls}")
    return ",".join(parts)


def _nullable(entity: Entity[Any], name: str) -> bool:
    """Server-owned times are optional in a row that is being made, and never null in the table."""
    return entity.fields[name].nullable and name not in ("created_at", "updated_at")


def beyond(entity: Entity[Any], sorts: tuple[Sort, ...], place: Place) -> Filter:
    """What lies after a place in the order: later in the first key, or the same there and later in the next, and so on."""
    steps: list[Filter] = []
    same: list[Filter] = []
    for sort, value in zip(sorts, place.values, strict=True):
        if value is not None:  # nulls are last: nothing comes later
            later: Filter = Condition(sort.field, "lt" if sort.descending else "gt", value)
            if _nullable(entity, sort.field):
                later = Group("or", (later, Condition(sort.field, "is_null", True)))
            steps.append(Group("and", (*same, later)))
        same.append(Condition(sort.field, "is_null", True) if value is None else Condition(sort.field, "eq", value))
    return Group("or", tuple(steps))


def after(entity: Entity[Any], sorts: tuple[Sort, ...], place: Place) -> str:
    """The same as PostgREST takes it."""
    return condition(entity, beyond(entity, sorts, place))


def columns_of(where: Filter) -> dict[str, Any]:
    """A filter as the database's own functions read it: too long for a URL, or for sums."""
    if isinstance(where, Condition):
        value = where.value
        if isinstance(value, tuple):
            value = [text_of(item) for item in value]
        elif where.op != "is_null":
            value = text_of(value)
        return {"field": where.field, "op": where.op, "value": value}
    return {"op": where.op, "items": [columns_of(item) for item in where.items]}
