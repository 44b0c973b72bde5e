"""The HTTP edge: the ten services for front ends, other gateways and scripts."""

from __future__ import annotations

from interlock.gateway.application import create_app
from interlock.gateway.server import serve

__all__ = ["create_app", "serve"]
