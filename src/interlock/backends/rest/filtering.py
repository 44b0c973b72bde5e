"""Filters as query parameters, in the ways that REST APIs have for them.

A `Filtering` compiles a filter to parameters, or to None where no row can match. What an API has no words for raises `Unsupported`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec

from interlock.contract import Condition, Filter, Group
from interlock.errors import Unsupported

__all__ = ["ExpressionFilters", "Filtering", "ParamFilters", "Params", "text_of"]

Params = list[tuple[str, str]]
Wire = Callable[[str], str]


class Filtering(Protocol):
    """Writes filters. `wire` gives the API's name of a field; `api` names the dialect in errors."""

    def compile(self, where: Filter | None, wire: Wire, api: str) -> Params | None: ...


def text_of(value: Any) -> str:
    """A value as a parameter: numbers as JavaScript writes them, times with all six digits, so that texts compare as times do."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return str(value)


def _flat(where: Filter | None, api: str) -> Iterator[Condition | None]:
    """The conditions that must all hold; None stands for one that never does."""
    if where is None:
        return
    if isinstance(where, Condition):
        yield where
    elif where.op == "and" or len(where.items) == 1:
        for item in where.items:
            yield from _flat(item, api)
    elif not where.items:
        yield None
    else:
        yield _any_of(where, api)


def _any_of(where: Group, api: str) -> Condition:
    """`or` over equalities of one field is an `in`; another `or` has no words."""
    fields = {item.field for item in where.items if isinstance(item, Condition) and item.op == "eq"}
    if len(fields) != 1 or not all(isinstance(item, Condition) and item.op == "eq" for item in where.items):
        raise Unsupported(api, "`or` over different conditions")
    return Condition(fields.pop(), "in", tuple(item.value for item in where.items if isinstance(item, Condition)))


_NO_TEXT: Final = "\x1f"
"""What no value is: unequal to it is whatever is not null."""
_RANGES: Final = frozenset({"lt", "lte", "gt", "gte", "between"})


class ParamFilters(msgspec.Struct, frozen=True):
    """One parameter per condition: `params` has a template of the parameter's name for each operator, such as `{field}_gte`.

    With `repeat`, a parameter given twice matches either value (`ne`: neither); else values are joined by commas, where `in` is
    among the templates. `gt` and `lt` are made of `gte` and `lte` with `ne` where there is none of their own.
    """

    params: Mapping[str, str] = MappingProxyType({"eq": "{field}"})
    repeat: bool = False

    def compile(self, where: Filter | None, wire: Wire, api: str) -> Params | None:
        params: Params = []
        for condition in _flat(where, api):
            if condition is None or (condition.op == "in" and not condition.value):
                return None
            params += self._one(condition, wire(condition.field), api, {name for name, _ in params})
        return params

    def _one(self, condition: Condition, field: str, api: str, taken: set[str]) -> Params:
        params: Params = []
        for op, values in self._steps(condition, api):
            name = self.params[op].format(field=field)
            if name in taken and not (self.repeat and op == "ne"):
                raise Unsupported(api, f"two conditions `{op}` on {condition.field}")
            params += [(name, text_of(value)) for value in values]
        return params

    def _steps(self, condition: Condition, api: str) -> list[tuple[str, tuple[Any, ...]]]:
        op, value = condition.op, condition.value
        several = isinstance(value, tuple)
        if op in _RANGES and isinstance(value[0] if several else value, bool):
            raise Unsupported(api, f"`{op}` between truth values, on {condition.field}")
        if op == "between":
            steps: list[tuple[str, tuple[Any, ...]]] = [("gte", value[:1]), ("lte", value[1:])]
        elif op in self.params:
            steps = [(op, (_joined(condition, api),) if several else (value,))]
        elif op in ("in", "nin") and self.repeat:
            steps = [("eq" if op == "in" else "ne", value or (_NO_TEXT,))]
        elif op == "is_null" and not value:
            steps = [("ne", (_NO_TEXT,))]
        elif op in ("gt", "lt"):
            steps = [(f"{op}e", (value,)), ("ne", (value,))]
        else:
            steps = [(op, ())]
        for step, _ in steps:
            if step not in self.params:
                raise Unsupported(api, f"the filter `{op}` on {condition.field}")
        return steps


def _joined(condition: Condition, api: str) -> str:
    texts = [text_of(item) for item in condition.value]
    if any("," in text for text in texts):
        raise Unsupported(api, f"`{condition.op}` with a comma in a value of {condition.field}")
    return ",".join(texts)


_SIEVE: Final[Mapping[str, str]] = MappingProxyType(
    {"eq": "==", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "contains": "@=", "startswith": "_="}
)


class ExpressionFilters(msgspec.Struct, frozen=True):
    """All conditions in one parameter, as .NET's Sieve writes them: `status==a|b,amount>=5`, with `\\` before a literal comma or bar."""

    param: str = "filters"
    signs: Mapping[str, str] = _SIEVE

    def compile(self, where: Filter | None, wire: Wire, api: str) -> Params | None:
        terms: list[str] = []
        for condition in _flat(where, api):
            if condition is None or (condition.op == "in" and not condition.value):
                return None
            terms += self._terms(condition, wire(condition.field), api)
        return [(self.param, ",".join(terms))] if terms else []

    def _terms(self, condition: Condition, field: str, api: str) -> list[str]:
        op, value = condition.op, condition.value
        if op == "between":
            low, high = (_escaped(item) for item in value)
            return [f"{field}{self.signs['gte']}{low}", f"{field}{self.signs['lte']}{high}"]
        if op == "in":
            return [f"{field}{self.signs['eq']}{'|'.join(map(_escaped, value))}"]
        if op == "nin" and not value:
            return [f"{field}{self.signs['ne']}null"]
        if op == "nin":
            return [f"{field}{self.signs['ne']}{_escaped(item)}" for item in value]
        if op == "is_null":
            return [f"{field}{self.signs['eq' if value else 'ne']}null"]
        if op not in self.signs:
            raise Unsupported(api, f"the filter `{op}` on {condition.field}")
        return [f"{field}{self.signs[op]}{_escaped(value)}"]


def _escaped(value: Any) -> str:
    text = text_of(value)
    for sign in ("\\", ",", "|"):
        text = text.replace(sign, f"\\{sign}")
    return "\\null" if text == "null" else text
