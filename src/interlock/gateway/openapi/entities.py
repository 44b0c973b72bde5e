"""The paths and schemas of one entity."""

from __future__ import annotations

from typing import Any, Final

from interlock.entity import Entity
from interlock.gateway.openapi.parts import (
    ID,
    IDEMPOTENCY,
    Json,
    body,
    components,
    operation,
    outcomes,
    parameter,
    ref,
    response,
)

__all__ = ["entity_paths", "schemas_of"]

_IF_MATCH: Final[Json] = {
    "name": "If-Match",
    "in": "header",
    "description": "The version that the record must have, as ETag gives it.",
    "schema": {"type": "string", "pattern": '^"[0-9]{1,15}"$'},
}
_DELETED: Final[Json] = {
    "name": "_deleted",
    "in": "query",
    "description": "Whether deleted records are among them.",
    "schema": {"enum": ["without", "with", "only"]},
}


def schemas_of(entity: Entity[Any]) -> Json:
    """The record as it is read, and what may be sent to create and to change one."""
    found = components((entity.record,))
    name = entity.record.__name__
    whole: Json = found[name]
    writable = {
        field.wire: whole["properties"][field.wire]
        for field in entity.fields.values()
        if not field.server_owned and field.name != "id"
    }
    required = [field.wire for field in entity.fields.values() if field.required]
    found[f"{name}Create"] = {"type": "object", "properties": writable, "required": required}
    found[f"{name}Patch"] = {"type": "object", "properties": writable}
    return found


def _list_parameters(entity: Entity[Any]) -> list[Json]:
    whole = {"type": "integer", "minimum": 0, "maximum": 1000}
    parameters = [
        parameter("_start", "json-server and refine: the first row.", whole),
        parameter("_end", "json-server and refine: behind the last row.", whole),
        parameter("_sort", "Fields, separated by commas.", {"type": "string"}),
        parameter("_order", "json-server and refine: asc or desc for each field of _sort.", {"type": "string"}),
        parameter("range", "simple-rest: first and last row, as JSON.", {"type": "string"}),
        parameter("sort", "simple-rest: field and direction, as JSON.", {"type": "string"}),
        parameter("filter", "simple-rest: values by field, as JSON.", {"type": "string"}),
        parameter("_filter", "A whole filter, as JSON.", {"type": "string"}),
        parameter("_limit", "Rows at most.", {"type": "integer", "minimum": 1, "maximum": 1000}),
        parameter("_offset", "Rows before the first.", whole),
        parameter("_cursor", "Where to go on, as X-Next-Cursor gave it.", {"type": "string"}),
        parameter("_count", "Whether to count.", {"enum": ["none", "exact", "estimated"]}),
        _DELETED,
        parameter("id", "The records of these ids, however many.", {"type": "array", "items": {"type": "string"}}),
    ]
    if entity.searchable:
        parameters.append(parameter("q", f"Search in {', '.join(entity.searchable)}.", {"type": "string"}))
    if entity.location:
        parameters.append(parameter("_near", "latitude,longitude,kilometres", {"type": "string"}))
    for field in entity.fields.values():
        if field.comparable and field.name != "id":
            about = f"{field.wire}; with a suffix such as _ne, _gte, _lte, _like, _in, _is_null for another comparison."
            parameters.append(parameter(field.wire, about, {"type": "string"}))
    return parameters


def entity_paths(prefix: str, entity: Entity[Any]) -> dict[str, Json]:
    name, tag = entity.record.__name__, entity.service
    resource = entity.resource
    path = f"{prefix}/{resource}"
    row, rows = ref(name), {"type": "array", "items": ref(name)}
    counted = {
        "X-Total-Count": "How many there are in all.",
        "Content-Range": f"{resource} first-last/total",
        "X-Next-Cursor": "Where the next page begins, as long as there is one.",
        "Cache-Status": "Only where the page is an old one, in place of a backend that is away.",
    }
    etag = {"ETag": "The version."}
    read = operation(
        f"list_{resource}",
        tag,
        f"List {resource}.",
        {"200": response("The rows.", rows, counted)},
        parameters=_list_parameters(entity),
    )
    one = operation(
        f"get_{resource}",
        tag,
        f"One of {resource}.",
        {"200": response("The record.", row, etag)},
        "404",
        parameters=[ID, _DELETED],
    )
    paths: dict[str, Json] = {
        path: {"get": read},
        f"{path}/{{id}}": {"get": one},
        f"{path}/_find": {
            "post": operation(
                f"find_{resource}",
                tag,
                f"List {resource}, with the parameters in the body.",
                {"200": response("The rows.", rows, counted)},
                requestBody=body({"type": "object", "additionalProperties": {"type": "string"}}),
            )
        },
        f"{path}/_aggregate": {"post": _aggregate(resource, tag)},
        f"{path}/changes": {
            "get": operation(
                f"watch_{resource}",
                tag,
                f"Changes of {resource}, as server-sent events.",
                {"200": {"description": "Events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
                parameters=[{"name": "Last-Event-ID", "in": "header", "schema": {"type": "string", "maxLength": 200}}],
            )
        },
        f"{path}/_bulk": {"post": _bulk(resource, tag, name)},
        f"{path}/_put": {"post": _put(resource, tag, name)},
    }
    if entity.append_only:
        return paths
    paths[path]["post"] = operation(
        f"create_{resource}",
        tag,
        f"Create one of {resource}.",
        {"201": response("The record.", row, etag | {"Location": "Its address."})},
        "409",
        "413",
        "415",
        parameters=[IDEMPOTENCY],
        requestBody=body(ref(f"{name}Create")),
    )
    for method in ("patch", "put"):
        paths[f"{path}/{{id}}"][method] = operation(
            f"{method}_{resource}",
            tag,
            f"Change one of {resource}: what is absent stays, null clears.",
            {"200": response("The record.", row, etag)},
            "404",
            "409",
            "412",
            parameters=[ID, _IF_MATCH, IDEMPOTENCY],
            requestBody=body(ref(f"{name}Patch")),
        )
    for method, where, verb in (("delete", "", "Delete"), ("post", "/restore", "Restore")):
        paths.setdefault(f"{path}/{{id}}{where}", {})[method] = operation(
            f"{verb.lower()}_{resource}",
            tag,
            f"{verb} one of {resource}.",
            {"200": response("The record.", row, etag)},
            "404",
            "409",
            "412",
            parameters=[ID, _IF_MATCH, IDEMPOTENCY],
        )
    return paths


def _bulk(resource: str, tag: str, name: str) -> Json:
    asked = {
        "type": "object",
        "required": ["verb"],
        "properties": {
            "verb": {"enum": ["create", "update", "delete", "restore", "get"]},
            "rows": {"type": "array", "items": {"type": "object"}},
            "ids": {"type": "array", "items": {"type": "string"}},
            "patch": {"type": "object"},
            "expectedVersion": {"type": "integer"},
            "deleted": {"enum": ["without", "with", "only"]},
        },
    }
    return operation(
        f"bulk_{resource}",
        tag,
        f"Many of {resource} in one call.",
        {"200": response("One outcome per item, in order.", outcomes(name))},
        parameters=[IDEMPOTENCY],
        requestBody=body(asked),
    )


def _put(resource: str, tag: str, name: str) -> Json:
    asked = {
        "type": "object",
        "required": ["rows", "sequence"],
        "properties": {"rows": {"type": "array", "items": {"type": "object"}}, "sequence": {"type": "integer"}},
    }
    return operation(
        f"replicate_{resource}",
        tag,
        f"Exact images of {resource}; for Interlock itself.",
        {"200": response("One outcome per image.", outcomes(name))},
        parameters=[IDEMPOTENCY],
        requestBody=body(asked),
    )


def _aggregate(resource: str, tag: str) -> Json:
    group = {
        "type": "object",
        "required": ["field"],
        "properties": {"field": {"type": "string"}, "bucket": {"enum": ["day", "month", "year", None]}},
    }
    measure = {
        "type": "object",
        "required": ["op"],
        "properties": {"op": {"enum": ["count", "sum", "min", "max"]}, "field": {"type": ["string", "null"]}},
    }
    asked = {
        "type": "object",
        "properties": {
            "filter": {"type": ["object", "null"]},
            "search": {"type": ["string", "null"]},
            "deleted": {"enum": ["without", "with", "only"]},
            "groupBy": {"type": "array", "items": group},
            "measures": {"type": "array", "items": measure},
        },
    }
    row = {"type": "object", "properties": {"key": {"type": "array"}, "values": {"type": "array"}}}
    answer = {"type": "object", "properties": {"groups": {"type": "array", "items": row}}}
    return operation(
        f"aggregate_{resource}",
        tag,
        f"Figures over {resource}.",
        {"200": response("One row per group.", answer)},
        requestBody=body(asked),
    )
