"""The paths that belong to no entity: actions, files, accounts, the system."""

from __future__ import annotations

from typing import get_origin

import msgspec

from interlock.contract import Page
from interlock.gateway.openapi.parts import (
    ID,
    IDEMPOTENCY,
    REF,
    Json,
    body,
    components,
    operation,
    parameter,
    ref,
    response,
)
from interlock.services.actions import Action

__all__ = ["account_paths", "action_operation", "file_paths", "result_of", "system_paths"]


def result_of(action: Action, schemas: Json) -> Json:
    """The schema of an action's result; a page's records are under `items`."""
    kind = action.result
    if get_origin(kind) is Page:
        (item,) = kind.__args__
        schemas |= components((item,))
        return {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": ref(item.__name__)},
                "total": {"type": ["integer", "null"]},
                "nextCursor": {"type": ["string", "null"]},
            },
        }
    (schema,), found = msgspec.json.schema_components((kind,), ref_template=REF)
    schemas |= found
    return dict(schema)


def action_operation(action: Action, result: Json) -> Json:
    return operation(
        f"{action.service}_{action.name}",
        action.service,
        action.summary,
        {"200": response("The result.", result)},
        "404",
        "409",
        parameters=[IDEMPOTENCY] if action.takes_operation_id else [],
        requestBody=body(ref(action.arguments.__name__), required=False),
    )


def file_paths(prefix: str) -> dict[str, Json]:
    binary: Json = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    signature = parameter("signature", "What a signed address carries in the place of a token.", {"type": "string"})
    part = {"name": "Range", "in": "header", "schema": {"type": "string"}}
    expires = {"type": "object", "properties": {"expires": {"type": "integer", "minimum": 1, "maximum": 604_800}}}
    address = {"type": "object", "properties": {"url": {"type": "string"}}}
    stored = response("What was stored.", ref("BlobInfo"))
    return {
        f"{prefix}/files/{{id}}/content": {
            "get": operation(
                "download_file",
                "files",
                "The bytes of a file.",
                {"200": {"description": "All of it.", **binary}, "206": {"description": "A part.", **binary}},
                "404",
                "416",
                parameters=[ID, signature, part],
            ),
            "put": operation(
                "upload_file",
                "files",
                "Store the bytes.",
                {"200": stored},
                "404",
                "413",
                parameters=[ID],
                requestBody={"required": True, **binary},
            ),
            "delete": operation(
                "drop_file",
                "files",
                "Forget bytes that have no record.",
                {"200": response("Done.", {"type": "object"})},
                parameters=[ID],
            ),
        },
        f"{prefix}/files/{{id}}/signed-url": {
            "post": operation(
                "sign_file",
                "files",
                "An address that needs no token.",
                {"200": response("The address.", address)},
                "404",
                parameters=[ID],
                requestBody=body(expires),
            )
        },
    }


def account_paths(prefix: str) -> dict[str, Json]:
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
        told = operation(
            f"auth_{path.replace('/', '_').replace('-', '_')}",
            "auth",
            summary,
            {status: response("Done.", schema)},
            requestBody=body(asked),
        )
        if path != "logout":
            told["security"] = []
        paths[f"{prefix}/auth/{path}"] = {"post": told}
    me = operation("auth_me", "auth", "Who is logged in.", {"200": response("The user.", ref("User"))}, "404")
    return paths | {f"{prefix}/auth/me": {"get": me}}


def system_paths(prefix: str) -> dict[str, Json]:
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
            "post": operation(
                "batch",
                "system",
                "Several calls in one.",
                {"200": response("Their answers.", {"type": "array", "items": answer})},
                requestBody=body({"type": "array", "maxItems": 50, "items": member}),
            )
        },
        f"{prefix}/_status": {
            "get": operation(
                "status", "system", "Each service's backend.", {"200": response("The table.", {"type": "array"})}
            )
        },
        f"{prefix}/_switch": {
            "post": operation(
                "switch",
                "system",
                "Serve a service, or `all` of them, from another backend.",
                {"200": response("The switch, or the switches of all.", {"type": ["object", "array"]})},
                requestBody=body(turned),
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
