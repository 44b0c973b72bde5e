"""The ten services: typed, with their rules, over whichever backend serves them."""

from __future__ import annotations

from interlock.services.base import Context, EntityService
from interlock.services.facade import Services

__all__ = ["Context", "EntityService", "Services"]
