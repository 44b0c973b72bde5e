"""The limits within which a backend is called: for all backends, or for one of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from interlock.settings.kinds import Flag, Seconds, Share

__all__ = ["LIMITS", "OWN", "Attempts", "Limits", "Places"]

Places = Annotated[int, Field(ge=0, le=1_000_000)]
Attempts = Annotated[int, Field(ge=0, le=10)]


class Limits(BaseModel):
    """How a backend is called. Seconds, counts of calls, and shares from 0 to 1, as the settings of the same names say."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    deadline: Seconds = 30.0
    concurrency: Places = 64
    queue: Places = 1000
    retries: Attempts = 2
    retry_budget: Share = 0.1
    breaker: Flag = True
    breaker_failures: Share = 0.5
    breaker_pause: Seconds = 2.0
    hedge: Share = 0.0


LIMITS: Final = tuple(Limits.model_fields)

OWN: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {"mock": MappingProxyType({"concurrency": 0, "retries": 0, "breaker": False})}
)
"""Where a backend's own defaults differ: the mock's pretended troubles are there to be seen."""
