"""JSON bodies: decoded within bounds, their names turned into fields, and what is wrong told by its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from interlock.contract import Condition, Filter, Group
from interlock.entity import Entity
from interlock.errors import Invalid
from interlock.gateway.problems import Refused, wire
from interlock.validation import check_patch, check_row, suggest

__all__ = ["decode_json", "filter_of", "floats", "object_of", "values_of"]

DEEPEST: Final = 64
DEEPEST_FILTER: Final = 20

_exact = msgspec.json.Decoder(float_hook=Decimal)


def decode_json(raw: bytes, name: str = "body") -> Any:
    """A JSON value; numbers with a point or exponent are Decimals. Raises `Invalid` naming the place of what is wrong."""
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and _depth(raw) > DEEPEST:
        raise Refused({name: f"is nested deeper than {DEEPEST}; flatten it"})
    try:
        return _exact.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError) as error:
        raise Refused(_diagnosis(raw, name, error)) from error


def _depth(raw: bytes) -> int:
    """How deep the value is nested, at most: brackets in texts count too, where they do not close."""
    depth = deepest = 0
    quoted = escaped = False
    for byte in raw:
        if quoted:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                quoted = False
        elif byte == 0x22:
            quoted = True
        elif byte in b"[{":
            depth += 1
            if depth > deepest:
                deepest = depth
                if deepest > DEEPEST:
                    return deepest
        elif byte in b"]}":
            depth -= 1
    return deepest


def _diagnosis(raw: bytes, name: str, error: Exception) -> dict[str, str]:
    """The fields that hold what JSON has not: NaN, Infinity, numbers out of range, lone surrogates. Else the error itself."""
    try:
        value = json.loads(raw.decode())
    except UnicodeDecodeError as wrong:
        return {name: f"is not UTF-8 (byte {wrong.start}); send JSON in UTF-8"}
    except (ValueError, RecursionError):
        return {name: f"is not JSON: {str(error).removeprefix('JSON is malformed: ')}"}
    found: dict[str, str] = {}
    _strangers(value, "", found)
    return found or {name: f"is not JSON: {str(error).removeprefix('JSON is malformed: ')}"}


def _strangers(value: Any, place: str, found: dict[str, str]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _strangers(key, f"{place}.{key}" if place else key, found)
            _strangers(item, f"{place}.{key}" if place else key, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _strangers(item, f"{place}.{index}" if place else str(index), found)
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        found[place or "body"] = "is not a finite number"
    elif isinstance(value, str) and any(0xD800 <= ord(char) <= 0xDFFF for char in value):
        found[place or "body"] = "has a lone surrogate; remove it"


def object_of(value: Any, known: Mapping[str, type | tuple[type, ...]], name: str = "body") -> dict[str, Any]:
    """A JSON object with known members of these types only; a null is as good as absent."""
    if not isinstance(value, dict):
        raise Refused({name: "is not a JSON object"})
    problems = {}
    for key, item in value.items():
        if key not in known:
            problems[key] = f"is not known here{suggest(key, known)}"
        elif item is not None and (not isinstance(item, known[key]) or (isinstance(item, bool) and known[key] is int)):
            problems[key] = f"is not {_NAMES.get(known[key], 'of the right type')}"
    if problems:
        raise Refused(problems)
    return {key: item for key, item in value.items() if item is not None}


_NAMES: Final[Mapping[Any, str]] = {
    str: "a text",
    int: "a whole number",
    list: "an array",
    dict: "an object",
    bool: "true or false",
}


def values_of(entity: Entity[Any], body: Any, *, patch: bool, name: str = "body") -> dict[str, Any]:
    """A record's values by field name. Server-owned fields are left out, as clients send back what they read; so is a patch's id.

    Raises `Invalid` for what is not an object, and for each name that is not a field.
    """
    if not isinstance(body, dict):
        raise Refused({name: f"is not a JSON object of fields of {entity.resource}"})
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for key, value in body.items():
        field = entity.by_wire.get(key)
        if field is None:
            problems[key] = f"is not a field of {entity.resource}{suggest(key, entity.by_wire)}"
        elif field.server_owned or (field.name == "id" and (patch or value is None or value == "")):
            continue
        elif field.kind != "decimal":
            values[field.name] = floats(value)
        else:
            values[field.name] = value
    if problems:
        raise Refused(problems | _other_problems(entity, values, patch=patch))
    return values


def _other_problems(entity: Entity[Any], values: dict[str, Any], *, patch: bool) -> dict[str, str]:
    """What is wrong beside unknown names, so that all of it is told at once."""
    try:
        if patch:
            check_patch(entity, values)
        else:
            check_row(entity, values)
    except Invalid as error:
        return {wire(name, entity): text for name, text in error.fields.items()}
    return {}


def floats(value: Any) -> Any:
    """The value with binary numbers in the place of decimal ones."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [floats(item) for item in value]
    if isinstance(value, dict):
        return {key: floats(item) for key, item in value.items()}
    return value


def filter_of(entity: Entity[Any], value: Any, name: str, depth: int = 0) -> Filter:
    """A filter in its JSON form, `{"type": "condition", "field", "op", "value"}` or `{"type": "group", "op", "items"}`, by JSON names."""
    if depth > DEEPEST_FILTER:
        raise Refused({name: "is nested too deep; flatten it"})
    if not isinstance(value, dict):
        raise Refused({name: "is not a JSON object"})
    if value.get("type") == "group" and value.keys() == {"type", "op", "items"} and isinstance(value["items"], list):
        if value["op"] not in ("and", "or"):
            raise Refused({name: "a group's op is `and` or `or`"})
        return Group(value["op"], tuple(filter_of(entity, item, name, depth + 1) for item in value["items"]))
    if value.get("type") != "condition" or value.keys() != {"type", "field", "op", "value"}:
        raise Refused(
            {
                name: 'holds something else than {"type": "condition", "field", "op", "value"}'
                ' and {"type": "group", "op", "items"}'
            }
        )
    field = entity.by_wire.get(value["field"]) if isinstance(value["field"], str) else None
    if field is None:
        wrong = str(value["field"])[:100]
        raise Refused({wrong: f"is not a field of {entity.resource}{suggest(wrong, entity.by_wire)}"})
    if not isinstance(value["op"], str):
        raise Refused({field.wire: "has an op that is not a text"})
    operand = value["value"] if field.kind == "decimal" else floats(value["value"])
    op: Any = value["op"]
    return Condition(field.name, op, operand)
