"""What is told of health: a status, the reason for it in one word, and a text for people that holds no secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal

import msgspec

__all__ = [
    "DOWN",
    "STATUS_OF",
    "BackendHealth",
    "HealthReport",
    "Reason",
    "RouteState",
    "ServiceHealth",
    "Status",
    "worst",
]

Status = Literal["pass", "warn", "fail"]
"""As in draft-inadarei-api-health-check: `warn` is healthy, with something to look at."""

Reason = Literal[
    "well",
    "unknown",
    "slow",
    "busy",
    "trying",
    "stands_in",
    "unchecked",
    "silent",
    "unhealthy",
    "broken",
    "failing",
    "misconfigured",
    "missing",
    "refused",
    "left_alone",
]
"""Why a status is what it is.

`well`; `unknown` (not probed yet); `slow` (the probe took long); `busy` (calls wait for a place, or the backend asks for fewer); `trying` (the breaker lets a few
calls through); `stands_in` (the backend is away, and kept answers serve reads); `unchecked` (the backend answers, but not the read that looks for the tables);
`silent` (no answer to the probe in time); `unhealthy` (the probe says so); `broken` (the probe or the backend broke its contract); `failing` (reads fail);
`misconfigured` (a table or a right is missing); `missing` (the backend has no such resource); `refused` (it answered, and refuses now); `left_alone` (the breaker is open).
"""

STATUS_OF: Final[Mapping[Reason, Status]] = MappingProxyType(
    {
        "well": "pass",
        "unknown": "warn",
        "slow": "warn",
        "busy": "warn",
        "trying": "warn",
        "stands_in": "warn",
        "unchecked": "warn",
        "missing": "warn",
        "silent": "fail",
        "unhealthy": "fail",
        "broken": "fail",
        "failing": "fail",
        "misconfigured": "fail",
        "refused": "fail",
        "left_alone": "fail",
    }
)

DOWN: Final[frozenset[Reason]] = frozenset({"silent", "unhealthy", "broken"})
"""The backend is away: nothing that it serves can be had."""

_RANK: Final[Mapping[Status, int]] = MappingProxyType({"pass": 0, "warn": 1, "fail": 2})


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of them; `pass` of none."""
    return max(statuses, key=_RANK.__getitem__, default="pass")


class RouteState(msgspec.Struct, frozen=True):
    """What the layers of a route say. `places` is how many calls may run at once, 0 for no limit; `stands_in` for how many seconds kept answers may stand in for the backend."""

    breaker: str = ""
    in_use: int = 0
    queued: int = 0
    places: int = 0
    stands_in: float = 0.0


class BackendHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What the last probe of a backend found. `latency` is in seconds, None before the first; `since` is when the status became what it is, `before` what it was."""

    backend: str
    status: Status
    reason: Reason
    output: str = ""
    latency: float | None = None
    version: str = ""
    checked_at: datetime | None = None
    since: datetime | None = None
    before: Status | None = None


class ServiceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How a service is: by its backend's health, its breaker and its places, and a read of each of its resources."""

    service: str
    backend: str
    epoch: int
    status: Status
    reason: Reason
    output: str = ""
    state: RouteState = RouteState()
    required: bool = True
    since: datetime | None = None
    before: Status | None = None

    @property
    def down(self) -> bool:
        """True where nothing of it can be had: the backend is away, and nothing stands in."""
        return self.reason in DOWN


class HealthReport(msgspec.Struct, frozen=True):
    """Everything at one moment."""

    backends: tuple[BackendHealth, ...]
    services: tuple[ServiceHealth, ...]

    @property
    def status(self) -> Status:
        """The worst status of any service."""
        return worst(service.status for service in self.services)

    @property
    def missing(self) -> tuple[ServiceHealth, ...]:
        """The required services that cannot be had: while there is one, this process cannot serve.

        Where kept answers stand in for a backend, what keeps none (users, log-in) is no reason to send the others' callers away.
        """
        covered = {service.backend for service in self.services if service.reason == "stands_in"}
        return tuple(
            service for service in self.services if service.required and service.down and service.backend not in covered
        )
