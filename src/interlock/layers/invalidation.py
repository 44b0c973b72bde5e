"""Who is told that something was written: every layer that keeps answers of a service, also those of its other routes.

A write that began on the route before a switch ends after it: what the new route has kept meanwhile may be older than that write. And a write whose outcome
nobody knows may still land: until it must have, nothing of its scope is kept, on any route.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Protocol

from interlock.contract import Change, Request
from interlock.layers.keys import Scope

__all__ = ["Forgets", "Invalidation"]


class Forgets(Protocol):
    """Keeps, or shares, answers."""

    def forget(self, scope: Scope, records: tuple[str, ...] | None) -> None:
        """Records of the scope (None: any of them) were, or may have been, written."""
        ...


class Invalidation:
    """The layers of one service that keep answers. They leave when nobody else holds them."""

    def __init__(self, settle: float = 30.0, clock: Callable[[], float] | None = None) -> None:
        self._settle = settle
        self._clock = clock
        self._layers: weakref.WeakSet[Forgets] = weakref.WeakSet()
        self._unsettled: dict[Scope, float] = {}

    def add(self, layer: Forgets) -> None:
        """Tell this layer too."""
        self._layers.add(layer)

    def settled(self, scope: Scope) -> bool:
        """False while a write of unknown outcome may still land in the scope."""
        if not self._unsettled:
            return True
        now = self._now()
        for old in [old for old, until in self._unsettled.items() if until <= now]:
            del self._unsettled[old]
        return scope not in self._unsettled

    def written(self, request: Request, *, known: bool) -> None:
        """A write has ended, or (not `known`) has been given up and may still land. The trail of the tenant has grown by it."""
        tenant_id = request.identity.tenant_id
        records = (request.ids or tuple(row.id for row in request.rows)) if known else None
        self._forget((tenant_id, request.resource), records, known=known)
        if request.resource != "audit":
            self._forget((tenant_id, "audit"), None, known=known)

    def _forget(self, scope: Scope, records: tuple[str, ...] | None, *, known: bool) -> None:
        if not known:
            self._unsettled[scope] = self._now() + self._settle
        for layer in tuple(self._layers):
            layer.forget(scope, records)

    def _now(self) -> float:
        return (self._clock or asyncio.get_running_loop().time)()

    def changed(self, tenant_id: str, change: Change) -> None:
        """A change was told of, somebody else's perhaps."""
        self._forget((tenant_id, change.resource), None if change.kind == "resync" else (change.record_id,), known=True)
