"""OpenAPI 3.1, written from the entities and the services' actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlock.gateway.edge import Edge

__all__ = ["document"]


def document(edge: Edge) -> dict[str, Any]:
    """The whole document."""
    return {"openapi": "3.1.0", "info": {"title": "Interlock", "version": "1"}, "paths": {}}
