"""OpenAPI 3.1, written from the entities and the services' actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.abilities import BlobInfo
from interlock.gateway.openapi.entities import entity_paths, schemas_of
from interlock.gateway.openapi.others import account_paths, action_operation, file_paths, result_of, system_paths
from interlock.gateway.openapi.parts import Json, components
from interlock.services.actions import ACTIONS

if TYPE_CHECKING:
    from interlock.gateway.edge import Edge

__all__ = ["document"]

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


def document(edge: Edge) -> Json:
    """The whole document."""
    schemas: Json = {"Problem": _PROBLEM}
    paths: dict[str, Json] = {}
    for entity in edge.entities.values():
        schemas |= schemas_of(entity)
        paths |= entity_paths(edge.prefix, entity)
    for action in (action for named in ACTIONS.values() for action in named.values()):
        schemas |= components((action.arguments, BlobInfo))
        result = result_of(action, schemas)
        paths[f"{edge.prefix}/{action.service}/actions/{action.name}"] = {"post": action_operation(action, result)}
    paths |= file_paths(edge.prefix) | account_paths(edge.prefix) | system_paths(edge.prefix)
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
