"""Calls any operation of any service by its name: `customers.list status=active limit=5`."""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from interlock.cli.output import Output
from interlock.contract import Page
from interlock.entity import Entity
from interlock.errors import Invalid
from interlock.services import EntityService, Services
from interlock.validation import check_value, suggest

__all__ = ["call", "operations"]

_LISTS = frozenset({"in", "nin", "between"})


def operations(service: object) -> tuple[str, ...]:
    """The names that can be called on a service."""
    return tuple(
        name
        for name in dir(type(service))
        if not name.startswith("_") and callable(getattr(type(service), name, None)) and name not in ("use", "of")
    )


def _find(crm: Services, target: str) -> tuple[Any, str]:
    name, dot, operation = target.partition(".")
    if not dot:
        raise Invalid({"target": f"{target!r} is not SERVICE.OPERATION; write it like customers.list"})
    known = [each for each in vars(type(crm)) if not each.startswith("_")]
    resources = [name for name, entity in crm.entities.items() if not entity.internal]
    if name in resources:
        service: Any = crm.of(name)
    elif name in known and hasattr(getattr(crm, name), "context"):
        service = getattr(crm, name)
    else:
        raise Invalid({"target": f"there is no service {name!r}{suggest(name, [*resources, *known])}"})
    if operation not in operations(service):
        raise Invalid({"target": f"{name} has no operation {operation!r}{suggest(operation, operations(service))}"})
    return service, operation


async def call(crm: Services, output: Output, target: str, words: Sequence[str], *, over_http: bool = False) -> None:
    """Call the operation and print what it answers; a stream is printed item by item, until it ends or is interrupted.

    `name=value` gives a parameter, a filter or a field in plain text, `name:=value` in JSON; a word alone is a positional argument.
    """
    service, operation = _find(crm, target)
    method = getattr(service, operation)
    positional, named = _arguments(service, method, words)
    try:
        inspect.signature(method).bind(*positional, **named)
    except TypeError as error:
        raise Invalid({target: f"{error}; it takes {inspect.signature(method)}"}) from error
    answer = method(*positional, **named)
    if isinstance(answer, AsyncIterator):
        async for item in answer:
            output.data(item)
        return
    found = await answer if inspect.isawaitable(answer) else answer
    if isinstance(found, Page) and over_http:
        # The product answered, and does not say by which of its backends.
        found = msgspec.structs.replace(found, backend="", epoch=0)
    output.result(found)


def _arguments(service: Any, method: Any, words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    hints = typing.get_type_hints(method)
    parameters = inspect.signature(method).parameters
    entity = service.entity if isinstance(service, EntityService) else None
    plain = [name for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD]
    positional: list[Any] = []
    named: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.rstrip(":").replace("_", "").isalnum():
            hint = hints.get(plain[min(len(positional), len(plain) - 1)], str) if plain else str
            positional.append(_converted(word, hint))
            continue
        try:
            if name.endswith(":"):
                name = name[:-1]
                named[name] = msgspec.json.decode(text)
            elif name in parameters and parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
                named[name] = _converted(text, hints.get(name, str))
            else:
                named[name] = _field_value(entity, name, text)
        except (ValueError, msgspec.DecodeError) as error:
            problems[name] = str(error)
    if problems:
        raise Invalid(problems)
    return positional, named


def _converted(text: str, hint: Any) -> Any:
    """The text as the parameter's type where that can be read from text, else as it is: the service says what is wrong."""
    try:
        return msgspec.convert(text, hint, strict=False)
    except (msgspec.ValidationError, TypeError):
        return text


def _field_value(entity: Entity[Any] | None, name: str, text: str) -> Any:
    field_name, _, operator = name.partition("__")
    field = entity.fields.get(field_name) if entity else None
    if field is None:
        return text
    if operator == "is_null":
        return _converted(text, bool)
    if text == "" and field.nullable:
        return None
    if operator in _LISTS:
        return [check_value(field, part, lax=True) for part in text.split(",")]
    if field.kind == "texts" and not operator:
        return [part for part in text.split(",") if part]
    if operator in ("contains", "startswith") or not field.comparable:
        return text
    return check_value(field, text, lax=True)
