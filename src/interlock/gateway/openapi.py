"""OpenAPI 3.1, written from the entities and the services' actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, get_origin

import msgspec

from interlock.abilities import BlobInfo
from interlock.contract import Page
from interlock.entity import Entity
from interlock.services.actions import ACTIONS, Action

if TYPE_CHECKING:
    from interlock.gateway.edge import Edge

__all__ = ["document"]

Json = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"

_PROBLEM: Final[Json] = {
    "type": "object",
    "required": ["message", "code", "status", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "errors": {"type": "object", "additionalProperties": {"type": "string"}},
        "current": {"type": ["object", "null"]},
        "field": {"type": "string"},
        "existingId": {"type": ["string", "null"]},
        "operationId": {"type": "string"},
        "retryAfter": {"type": "number"},
    },
}
_IDEMPOTENCY: Final[Json] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The operation's id: the same key again answers the first outcome and writes nothing.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
_IF_MATCH: Final[Json] = {
    "name": "If-Match",
    "in": "header",
    "description": "The version that the record must have, as ETag gives it.",
    "schema": {"type": "string", "pattern": '^"[0-9]{1,15}"$'},
}
_ID: Final[Json] = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
_DELETED: Final[Json] = {
    "name": "_deleted",
    "in": "query",
    "description": "Whether deleted records are among them.",
    "schema": {"enum": ["without", "with", "only"]},
}
_WRONG: Final = ("400", "401", "403", "429", "default")


def document(edge: Edge) -> Json:
    """The whole document."""
    schemas: Json = {"Problem": _PROBLEM}
    paths: dict[str, Json] = {}
    for entity in edge.entities.values():
        schemas |= _schemas(entity)
        paths |= _entity_paths(edge.prefix, entity)
    for action in (action for named in ACTIONS.values() for action in named.values()):
        schemas |= _components((action.arguments, BlobInfo))
        result = _result(action, schemas)
        paths[f"{edge.prefix}/{action.service}/actions/{action.name}"] = {"post": _action(action, result)}
    paths |= _file_paths(edge.prefix) | _account_paths(edge.prefix) | _system_paths(edge.prefix)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Interlock", "version": "1", "description": "One contract over every backend."},
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


# -- schemas ------------------------------------------------------------------------------------------------------


def _components(types: tuple[Any, ...]) -> Json:
    _, found = msgspec.json.schema_components(types, ref_template=_REF)
    return dict(found)


def _schemas(entity: Entity[Any]) -> Json:
    """The record as it is read, and what may be sent to create and to change one."""
    found = _components((entity.record,))
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


def _result(action: Action, schemas: Json) -> Json:
    """The schema of an action's result; a page's records are under `items`."""
    kind = action.result
    if get_origin(kind) is Page:
        (item,) = kind.__args__
        schemas |= _components((item,))
        return {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": _ref(item.__name__)},
                "total": {"type": ["integer", "null"]},
                "nextCursor": {"type": ["string", "null"]},
            },
        }
    (schema,), found = msgspec.json.schema_components((kind,), ref_template=_REF)
    schemas |= found
    return dict(schema)


def _ref(name: str) -> Json:
    return {"$ref": _REF.format(name=name)}


def _body(schema: Json, *, required: bool = True) -> Json:
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def _json(description: str, schema: Json, headers: Mapping[str, str] | None = None) -> Json:
    found: Json = {"description": description, "content": {"application/json": {"schema": schema}}}
    if headers:
        found["headers"] = {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}
    return found


def _operation(name: str, tag: str, summary: str, answers: Json, *more: str, **parts: Any) -> Json:
    problem = {"description": "A problem.", "content": {"application/problem+json": {"schema": _ref("Problem")}}}
    responses = {**answers, **dict.fromkeys((*_WRONG, *more), problem)}
    return {"operationId": name, "tags": [tag], "summary": summary, **parts, "responses": responses}


# -- entities -----------------------------------------------------------------------------------------------------


def _query(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _list_parameters(entity: Entity[Any]) -> list[Json]:
    whole = {"type": "integer", "minimum": 0, "maximum": 1000}
    parameters = [
        _query("_start", "json-server and refine: the first row.", whole),
        _query("_end", "json-server and refine: behind the last row.", whole),
        _query("_sort", "Fields, separated by commas.", {"type": "string"}),
        _query("_order", "json-server and refine: asc or desc for each field of _sort.", {"type": "string"}),
        _query("range", "simple-rest: first and last row, as JSON.", {"type": "string"}),
        _query("sort", "simple-rest: field and direction, as JSON.", {"type": "string"}),
        _query("filter", "simple-rest: values by field, as JSON.", {"type": "string"}),
        _query("_filter", "A whole filter, as JSON.", {"type": "string"}),
        _query("_limit", "Rows at most.", {"type": "integer", "minimum": 1, "maximum": 1000}),
        _query("_offset", "Rows before the first.", whole),
        _query("_cursor", "Where to go on, as X-Next-Cursor gave it.", {"type": "string"}),
        _query("_count", "Whether to count.", {"enum": ["none", "exact", "estimated"]}),
        _DELETED,
        _query("id", "The records of these ids, however many.", {"type": "array", "items": {"type": "string"}}),
    ]
    if entity.searchable:
        parameters.append(_query("q", f"Search in {', '.join(entity.searchable)}.", {"type": "string"}))
    if entity.location:
        parameters.append(_query("_near", "latitude,longitude,kilometres", {"type": "string"}))
    for field in entity.fields.values():
        if field.comparable and field.name != "id":
            about = f"{field.wire}; with a suffix such as _ne, _gte, _lte, _like, _in, _is_null for another comparison."
            parameters.append(_query(field.wire, about, {"type": "string"}))
    return parameters


def _entity_paths(prefix: str, entity: Entity[Any]) -> dict[str, Json]:
    name, tag = entity.record.__name__, entity.service
    resource = entity.resource
    path = f"{prefix}/{resource}"
    row, rows = _ref(name), {"type": "array", "items": _ref(name)}
    counted = {
        "X-Total-Count": "How many there are in all.",
        "Content-Range": f"{resource} first-last/total",
        "X-Next-Cursor": "Where the next page begins, as long as there is one.",
    }
    etag = {"ETag": "The version."}
    read = _operation(
        f"list_{resource}",
        tag,
        f"List {resource}.",
        {"200": _json("The rows.", rows, counted)},
        parameters=_list_parameters(entity),
    )
    one = _operation(
        f"get_{resource}",
        tag,
        f"One of {resource}.",
        {"200": _json("The record.", row, etag)},
        "404",
        parameters=[_ID, _DELETED],
    )
    paths: dict[str, Json] = {
        path: {"get": read},
        f"{path}/{{id}}": {"get": one},
        f"{path}/_find": {
            "post": _operation(
                f"find_{resource}",
                tag,
                f"List {resource}, with the parameters in the body.",
                {"200": _json("The rows.", rows, counted)},
                requestBody=_body({"type": "object", "additionalProperties": {"type": "string"}}),
            )
        },
        f"{path}/_aggregate": {"post": _aggregate(resource, tag)},
        f"{path}/changes": {
            "get": _operation(
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
    paths[path]["post"] = _operation(
        f"create_{resource}",
        tag,
        f"Create one of {resource}.",
        {"201": _json("The record.", row, etag | {"Location": "Its address."})},
        "409",
        "413",
        "415",
        parameters=[_IDEMPOTENCY],
        requestBody=_body(_ref(f"{name}Create")),
    )
    for method in ("patch", "put"):
        paths[f"{path}/{{id}}"][method] = _operation(
            f"{method}_{resource}",
            tag,
            f"Change one of {resource}: what is absent stays, null clears.",
            {"200": _json("The record.", row, etag)},
            "404",
            "409",
            "412",
            parameters=[_ID, _IF_MATCH, _IDEMPOTENCY],
            requestBody=_body(_ref(f"{name}Patch")),
        )
    for method, where, verb in (("delete", "", "Delete"), ("post", "/restore", "Restore")):
        paths.setdefault(f"{path}/{{id}}{where}", {})[method] = _operation(
            f"{verb.lower()}_{resource}",
            tag,
            f"{verb} one of {resource}.",
            {"200": _json("The record.", row, etag)},
            "404",
            "409",
            "412",
            parameters=[_ID, _IF_MATCH, _IDEMPOTENCY],
        )
    return paths


def _outcomes(name: str) -> Json:
    outcome = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "row": {"anyOf": [_ref(name), {"type": "null"}]},
            "error": {"anyOf": [_ref("Problem"), {"type": "null"}]},
        },
    }
    return {
        "type": "object",
        "properties": {"outcomes": {"type": "array", "items": outcome}, "rows": {"type": "array"}},
    }


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
    return _operation(
        f"bulk_{resource}",
        tag,
        f"Many of {resource} in one call.",
        {"200": _json("One outcome per item, in order.", _outcomes(name))},
        parameters=[_IDEMPOTENCY],
        requestBody=_body(asked),
    )


def _put(resource: str, tag: str, name: str) -> Json:
    asked = {
        "type": "object",
        "required": ["rows", "sequence"],
        "properties": {"rows": {"type": "array", "items": {"type": "object"}}, "sequence": {"type": "integer"}},
    }
    return _operation(
        f"replicate_{resource}",
        tag,
        f"Exact images of {resource}; for Interlock itself.",
        {"200": _json("One outcome per image.", _outcomes(name))},
        parameters=[_IDEMPOTENCY],
        requestBody=_body(asked),
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
    return _operation(
        f"aggregate_{resource}",
        tag,
        f"Figures over {resource}.",
        {"200": _json("One row per group.", answer)},
        requestBody=_body(asked),
    )


# -- the rest -----------------------------------------------------------------------------------------------------


def _action(action: Action, result: Json) -> Json:
    return _operation(
        f"{action.service}_{action.name}",
        action.service,
        action.summary,
        {"200": _json("The result.", result)},
        "404",
        "409",
        parameters=[_IDEMPOTENCY] if action.takes_operation_id else [],
        requestBody=_body(_ref(action.arguments.__name__), required=False),
    )


def _file_paths(prefix: str) -> dict[str, Json]:
    binary: Json = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    signature = _query("signature", "What a signed address carries in the place of a token.", {"type": "string"})
    part = {"name": "Range", "in": "header", "schema": {"type": "string"}}
    expires = {"type": "object", "properties": {"expires": {"type": "integer", "minimum": 1, "maximum": 604_800}}}
    address = {"type": "object", "properties": {"url": {"type": "string"}}}
    stored = _json("What was stored.", _ref("BlobInfo"))
    return {
        f"{prefix}/files/{{id}}/content": {
            "get": _operation(
                "download_file",
                "files",
                "The bytes of a file.",
                {"200": {"description": "All of it.", **binary}, "206": {"description": "A part.", **binary}},
                "404",
                "416",
                parameters=[_ID, signature, part],
            ),
            "put": _operation(
                "upload_file",
                "files",
                "Store the bytes.",
                {"200": stored},
                "404",
                "413",
                parameters=[_ID],
                requestBody={"required": True, **binary},
            ),
            "delete": _operation(
                "drop_file",
                "files",
                "Forget bytes that have no record.",
                {"200": _json("Done.", {"type": "object"})},
                parameters=[_ID],
            ),
        },
        f"{prefix}/files/{{id}}/signed-url": {
            "post": _operation(
                "sign_file",
                "files",
                "An address that needs no token.",
                {"200": _json("The address.", address)},
                "404",
                parameters=[_ID],
                requestBody=_body(expires),
            )
        },
    }


def _account_paths(prefix: str) -> dict[str, Json]:
    user = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("id", "tenantId", "role", "email")},
    }
    session = {
        "type": "object",
        "required": ["accessToken", "refreshToken", "expiresIn", "user"],
        "properties": {
            "accessToken": {"type": "string"},
            "refreshToken": {"type": "string"},
            "expiresIn": {"type": "integer"},
            "tokenType": {"type": "string"},
            "user": user,
        },
    }
    done: Json = {"type": "object"}
    table: tuple[tuple[str, str, tuple[str, ...], str, Json], ...] = (
        ("login", "Log in by password.", ("email", "password"), "200", session),
        ("refresh", "New tokens for a refresh token.", ("refreshToken",), "200", session),
        ("logout", "End the refresh token.", ("refreshToken",), "200", done),
        ("sign-up", "Ask for an account.", ("email", "password", "displayName", "tenantId"), "202", done),
        ("magic-link", "Send a link that logs in once.", ("email",), "202", done),
        ("magic-link/redeem", "Log in with the token of a link.", ("token",), "200", session),
        ("password-reset", "Send a link that sets a new password.", ("email",), "202", done),
        ("password-reset/confirm", "Set a new password.", ("token", "password"), "200", done),
    )
    paths: dict[str, Json] = {}
    for path, summary, names, status, schema in table:
        asked = {"type": "object", "required": list(names), "properties": {name: {"type": "string"} for name in names}}
        operation = _operation(
            f"auth_{path.replace('/', '_').replace('-', '_')}",
            "auth",
            summary,
            {status: _json("Done.", schema)},
            requestBody=_body(asked),
        )
        if path != "logout":
            operation["security"] = []
        paths[f"{prefix}/auth/{path}"] = {"post": operation}
    me = _operation("auth_me", "auth", "Who is logged in.", {"200": _json("The user.", _ref("User"))}, "404")
    return paths | {f"{prefix}/auth/me": {"get": me}}


def _system_paths(prefix: str) -> dict[str, Json]:
    anything: Json = {}
    member = {
        "type": "object",
        "required": ["path"],
        "properties": {
            "method": {"enum": ["GET", "POST", "PUT", "PATCH", "DELETE"]},
            "path": {"type": "string"},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body": anything,
        },
    }
    answer = {
        "type": "object",
        "properties": {"status": {"type": "integer"}, "headers": {"type": "object"}, "body": anything},
    }
    turned = {
        "type": "object",
        "required": ["service", "backend"],
        "properties": {"service": {"type": "string"}, "backend": {"type": "string"}},
    }
    paths: dict[str, Json] = {
        f"{prefix}/batch": {
            "post": _operation(
                "batch",
                "system",
                "Several calls in one.",
                {"200": _json("Their answers.", {"type": "array", "items": answer})},
                requestBody=_body({"type": "array", "maxItems": 50, "items": member}),
            )
        },
        f"{prefix}/_status": {
            "get": _operation(
                "status", "system", "Each service's backend.", {"200": _json("The table.", {"type": "array"})}
            )
        },
        f"{prefix}/_switch": {
            "post": _operation(
                "switch",
                "system",
                "Serve a service from another backend.",
                {"200": _json("The switch.", {"type": "object"})},
                requestBody=_body(turned),
            )
        },
    }
    for path, kind in (
        ("/livez", "application/health+json"),
        ("/readyz", "application/health+json"),
        ("/startupz", "application/health+json"),
        ("/health", "application/health+json"),
        ("/metrics", "text/plain"),
        ("/.well-known/jwks.json", "application/json"),
        ("/openapi.json", "application/json"),
        ("/docs", "text/html"),
    ):
        told = {"200": {"description": "Well.", "content": {kind: {"schema": anything}}}}
        paths[path] = {
            "get": {
                "operationId": path.strip("/.").replace("/", "_").replace(".", "_").replace("-", "_"),
                "tags": ["system"],
                "security": [],
                "responses": told,
            }
        }
    return paths
