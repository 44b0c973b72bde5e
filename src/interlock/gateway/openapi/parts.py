"""What all parts of the document are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = [
    "ID",
    "IDEMPOTENCY",
    "REF",
    "Json",
    "body",
    "components",
    "operation",
    "outcomes",
    "parameter",
    "ref",
    "response",
]

Json = dict[str, Any]
REF: Final = "#/components/schemas/{name}"
IDEMPOTENCY: Final[Json] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The operation's id: the same key again answers the first outcome and writes nothing.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
ID: Final[Json] = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
WRONG: Final = ("400", "401", "403", "429", "default")


def components(types: tuple[Any, ...]) -> Json:
    _, found = msgspec.json.schema_components(types, ref_template=REF)
    return dict(found)


def ref(name: str) -> Json:
    return {"$ref": REF.format(name=name)}


def body(schema: Json, *, required: bool = True) -> Json:
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def response(description: str, schema: Json, headers: Mapping[str, str] | None = None) -> Json:
    found: Json = {"description": description, "content": {"application/json": {"schema": schema}}}
    if headers:
        found["headers"] = {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}
    return found


def operation(name: str, tag: str, summary: str, answers: Json, *more: str, **parts: Any) -> Json:
    problem = {"description": "A problem.", "content": {"application/problem+json": {"schema": ref("Problem")}}}
    responses = {**answers, **dict.fromkeys((*WRONG, *more), problem)}
    return {"operationId": name, "tags": [tag], "summary": summary, **parts, "responses": responses}


def parameter(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def outcomes(name: str) -> Json:
    outcome = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "row": {"anyOf": [ref(name), {"type": "null"}]},
            "error": {"anyOf": [ref("Problem"), {"type": "null"}]},
        },
    }
    return {
        "type": "object",
        "properties": {"outcomes": {"type": "array", "items": outcome}, "rows": {"type": "array"}},
    }
