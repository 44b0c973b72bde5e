"""Routes as the control store keeps them: one row decides where a service's writes go."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["EVERY_TENANT", "Stage", "StoredRoute"]

Stage = Literal["off", "dualwrite", "shadow", "live", "rampdown", "complete"]

EVERY_TENANT = ""


class StoredRoute(msgspec.Struct, frozen=True):
    """Where a service's calls go, of one tenant or (`EVERY_TENANT`) of all who have no row of their own.

    While `open` is false nothing is admitted. `epoch` grows with every change and is never used again. `head` is the last entry of the journal before the
    last turn.
    """

    service: str
    tenant_id: str
    stage: Stage
    open: bool
    primary: str
    secondary: str | None
    epoch: int
    head: int | None = None
    at: float = 0.0
