"""What a field is in PostgreSQL: its column, its default, and the check that holds its annotation."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec

from interlock.entity import Entity, Field, Kind

__all__ = ["column", "column_json", "literal", "name", "wire_json"]

_TYPES: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "id": 'text collate "C"',
        "text": 'text collate "C"',
        "choice": 'text collate "C"',
        "int": "bigint",
        "float": "double precision",
        "decimal": "numeric",
        "bool": "boolean",
        "date": "date",
        "datetime": "timestamptz",
        "texts": "text[]",
        "point": "extensions.geography(Point, 4326)",
        "json": "jsonb",
    }
)
_ALWAYS_SET: Final = frozenset({"tenant_id", "created_at", "updated_at", "version"})
_DEFAULTS: Final = MappingProxyType(
    {"id": "app.new_id()", "created_at": "now()", "updated_at": "now()", "version": "1"}
)
_LONGEST: Final = 63

# Words that PostgreSQL takes for no column's name unless they are quoted.
_RESERVED: Final = re.compile(
    r"all|analyse|analyze|and|any|array|as|asc|asymmetric|authorization|binary|both|case|cast|"
    r"check|collate|collation|column|concurrently|constraint|create|cross|current_catalog|"
    r"current_date|current_role|current_schema|current_time|current_timestamp|current_user|default|"
    r"deferrable|desc|distinct|do|else|end|except|false|fetch|for|foreign|freeze|from|full|grant|"
    r"group|having|ilike|in|initially|inner|intersect|into|is|isnull|join|lateral|leading|left|"
    r"like|limit|localtime|localtimestamp|natural|not|notnull|null|offset|on|only|or|order|outer|"
    r"overlaps|placing|primary|references|returning|right|select|session_user|similar|some|symmetric|"
    r"table|tablesample|then|to|trailing|true|union|unique|user|using|variadic|verbose|when|where|"
    r"window|with"
)

_ID: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"


def name(*parts: str) -> str:
    """An identifier, quoted where it must be. Raises TypeError for one that PostgreSQL would cut."""
    joined = "_".join(parts)
    if len(joined.encode()) > _LONGEST:
        raise TypeError(f"{joined!r} is longer than the {_LONGEST} bytes of a name in PostgreSQL; choose shorter names")
    if re.fullmatch(r"[a-z_][a-z0-9_]*", joined) and not _RESERVED.fullmatch(joined):
        return joined
    return '"' + joined.replace('"', '""') + '"'


def literal(value: Any) -> str:
    """A value as SQL writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal():
            return str(value)
        case tuple() | list() | set() | frozenset():
            return f"array[{', '.join(literal(item) for item in value)}]::text[]" if value else "'{}'"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _:
            return "'" + msgspec.json.encode(value).decode().strip('"').replace("'", "''") + "'"


def column(entity: Entity[Any], field: Field) -> str:
    """The field's line in `create table`."""
    parts = [name(field.name), _TYPES[field.kind]]
    if not field.nullable or field.name in _ALWAYS_SET:
        parts.append("not null")
    default = _default(entity, field)
    if default is not None:
        parts.append(f"default {default}")
    checks = list(_checks(entity, field))
    if checks:
        parts.append(f"constraint {name(entity.resource, field.name, 'check')} check ({' and '.join(checks)})")
    return " ".join(parts)


def _default(entity: Entity[Any], field: Field) -> str | None:
    if field.name in _DEFAULTS:
        return _DEFAULTS[field.name]
    if field.server_owned or field.required:
        return "0" if field.name == entity.sequence else None
    info = next(info for info in msgspec.structs.fields(entity.record) if info.name == field.name)
    value = info.default_factory() if info.default_factory is not msgspec.NODEFAULT else info.default
    return None if value is None else literal(value)


def _checks(entity: Entity[Any], field: Field) -> Iterator[str]:
    this = name(field.name)
    if field.name == "id":
        yield f"{this} ~ {literal(_ID)}"
    elif field.kind == "choice":
        yield f"{this} in ({', '.join(literal(choice) for choice in field.choices)})"
    elif field.server_owned:
        return
    elif field.kind == "texts":
        yield from _lists(field, this)
    else:
        yield from _bounds(field, this)
        yield from _finite(field, this)


def _bounds(field: Field, this: str) -> Iterator[str]:
    rules = _rules(field.python)
    least = rules.pop("least", None)
    if least is not None:
        yield f"{this} >= {least}"
    if "min_length" in rules or "max_length" in rules:
        yield _between(f"char_length({this})", rules.get("min_length"), rules.get("max_length"))
    for rule, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
        if rule in rules:
            yield f"{this} {sign} {rules[rule]}"
    if "multiple_of" in rules:
        yield f"{this} % {rules['multiple_of']} = 0"
    if "pattern" in rules:
        # Python's $ also stands before a last line break.
        pattern = re.sub(r"(?<!\\)\$$", r"\\n?$", rules["pattern"])
        yield f"{this} ~ {literal(pattern)}"


def _finite(field: Field, this: str) -> Iterator[str]:
    """What PostgreSQL can store and JSON, or Python, has no word for."""
    match field.kind:
        case "decimal":
            yield f"abs({this}) < 1000000000000 and {this} = round({this}, 4)"
        case "float":
            yield f"{this} > '-infinity' and {this} < 'infinity'"
        case "date":
            yield f"{this} between '0001-01-01' and '9999-12-31'"
        case "datetime":
            yield f"{this} between '0001-01-01T00:00:00Z' and '9999-12-31T23:59:59.999999Z'"
        case "point":
            yield f"not extensions.st_isempty({this}::extensions.geometry)"


def _lists(field: Field, this: str) -> Iterator[str]:
    rules = _rules(field.python)
    if "min_length" in rules or "max_length" in rules:
        yield _between(f"cardinality({this})", rules.get("min_length"), rules.get("max_length"))
    items = _rules(_item(field.python))
    yield f"app.texts_fit({this}, {items.get('min_length', 0)}, {items.get('max_length', 2**31 - 1)})"


def _between(what: str, least: int | None, most: int | None) -> str:
    if least is None:
        return f"{what} <= {most}"
    return f"{what} >= {least}" if most is None else f"{what} between {least} and {most}"


def _rules(annotation: Any) -> dict[str, Any]:
    """The constraints of an annotation, through optionals, not into tuples."""
    found: dict[str, Any] = {}
    if typing.get_origin(annotation) is Annotated:
        inner, *metas = typing.get_args(annotation)
        found |= _rules(inner)
        for meta in metas:
            if isinstance(meta, msgspec.Meta):
                named = ("ge", "gt", "le", "lt", "multiple_of", "pattern", "min_length", "max_length")
                found |= {rule: value for rule in named if (value := getattr(meta, rule)) is not None}
                found |= {rule: value for rule, value in (meta.extra or {}).items() if rule == "least"}
    elif typing.get_origin(annotation) in {types.UnionType, typing.Union}:
        for arm in typing.get_args(annotation):
            found |= _rules(arm)
    return found


def _item(annotation: Any) -> Any:
    """The annotation of a tuple's items."""
    while typing.get_origin(annotation) is not tuple:
        arms = [arm for arm in typing.get_args(annotation) if arm is not type(None)]
        annotation = arms[0]
    return typing.get_args(annotation)[0]


def column_json(field: Field, row: str) -> str:
    """The field's value in an image by column names: what PostgREST answers for it."""
    this = f"{row}.{name(field.name)}"
    return f"app.lat_lon({this})" if field.kind == "point" else this


def wire_json(field: Field, row: str) -> str:
    """The field's value in an audit entry, as JSON has it on the wire: amounts and times are texts."""
    this = f"{row}.{name(field.name)}"
    match field.kind:
        case "decimal":
            return f"{this}::text"
        case "datetime":
            return f"app.rfc3339({this})"
        case "point":
            return f"app.lat_lon({this})"
        case _:
            return this
