"""What orchestrators and people on call ask: is it alive, ready, started, well? As application/health+json.

Anybody may ask. What they are told is in fixed words: a backend's own words, which may name hosts, are for `status` and the log. And nobody can make the backends
work by asking: answers come from probes of a moment ago.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec

from interlock.gateway.calls import Call
from interlock.gateway.edge import Edge
from interlock.gateway.replies import Headers, Reply
from interlock.health import BackendHealth, HealthMonitor, HealthReport, Reason, ServiceHealth, Status

__all__ = ["Health"]

_NO_STORE: Final = (b"cache-control", b"no-store")
_encode = msgspec.json.Encoder().encode

WORDS: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        "well": "",
        "unknown": "not probed yet",
        "slow": "its probe took long",
        "busy": "it has as many calls as it may have",
        "trying": "calls have failed; a few are let through to see",
        "stands_in": "its backend is away; kept answers serve reads, marked as stale",
        "unchecked": "its backend answers, but lets nobody look whether its tables are there",
        "missing": "its backend has not all of its resources",
        "silent": "its backend does not answer",
        "unhealthy": "its backend does not answer as it should",
        "broken": "its backend answers against its contract",
        "failing": "its reads fail",
        "misconfigured": "a table or a right is missing",
        "refused": "its backend refuses reads that it used to answer",
        "left_alone": "calls have failed; for a moment no more are made",
    }
)


class Health:
    """The four endpoints."""

    def __init__(self, edge: Edge, monitor: HealthMonitor) -> None:
        self._edge = edge
        self._monitor = monitor
        self._began = datetime.now(UTC)

    async def live(self, call: Call) -> Reply:
        """GET /livez: this process answers. Asks nobody else."""
        return _told("pass")

    async def startup(self, call: Call) -> Reply:
        """GET /startupz: the server has started. Asks nobody else."""
        return _told("pass") if self._edge.started else _told("fail", "starting", status_code=503)

    async def ready(self, call: Call) -> Reply:
        """GET /readyz: 503 where this process cannot serve: it starts, it stops, or a required service's backend is away and nothing stands in."""
        if not self._edge.started or self._edge.stopping.is_set():
            return _told("fail", "stopping" if self._edge.stopping.is_set() else "starting", status_code=503)
        report = await self._monitor.report()
        if report.missing:
            away = sorted({service.backend for service in report.missing})
            return _told("fail", f"not answering: {', '.join(away)}", status_code=503)
        return _told(report.status if report.status == "pass" else "warn", _summary(report))

    async def whole(self, call: Call) -> Reply:
        """GET /health: every backend and service, as health+json; 503 where one of them fails."""
        report = await self._monitor.report()
        failed = report.status == "fail"
        return _told(report.status, _summary(report), self._checks(report), status_code=503 if failed else 200)

    def _checks(self, report: HealthReport) -> dict[str, list[dict[str, Any]]]:
        now = datetime.now(UTC)
        uptime = {"componentType": "system", "observedValue": round((now - self._began).total_seconds(), 3)}
        checks = {"uptime": [{**uptime, "observedUnit": "s", "status": "pass", "time": now}]}
        for backend in report.backends:
            services = [service.service for service in report.services if service.backend == backend.backend]
            checks[f"{backend.backend}:responseTime"] = [_of_backend(backend, services)]
        for service in report.services:
            checks[f"{service.service}:availability"] = [_of_service(service)]
            state = service.state
            if state.breaker:
                checks[f"{service.service}:breaker"] = [_observed(service, state.breaker)]
            if state.places:
                checks[f"{service.service}:calls"] = [_observed(service, state.in_use + state.queued, "calls")]
        return checks


def _told(
    status: Status, output: str = "", checks: Mapping[str, Any] = MappingProxyType({}), *, status_code: int = 200
) -> Reply:
    body: dict[str, Any] = {"status": status, "serviceId": "interlock-gateway"}
    if output:
        body["output"] = output
    if checks:
        body["checks"] = dict(checks)
    headers: Headers = [(b"content-type", b"application/health+json"), _NO_STORE]
    return Reply(status_code, headers, _encode(body))


def _summary(report: HealthReport) -> str:
    """Who is not well, in a line."""
    return "; ".join(
        f"{service.service} on {service.backend}: {WORDS[service.reason]}"
        for service in report.services
        if service.status != "pass"
    )


def _of_backend(backend: BackendHealth, services: Iterable[str]) -> dict[str, Any]:
    check: dict[str, Any] = {
        "componentType": "datastore",
        "status": backend.status,
        "services": list(services),
        **_when(backend.since),
    }
    if backend.latency is not None:
        check |= {"observedValue": round(backend.latency * 1000, 3), "observedUnit": "ms"}
    if backend.checked_at is not None:
        check["time"] = backend.checked_at
    if WORDS[backend.reason]:
        check["output"] = WORDS[backend.reason].replace("its backend", "it")
    return check


def _of_service(service: ServiceHealth) -> dict[str, Any]:
    check: dict[str, Any] = {
        "componentType": "component",
        "componentId": service.backend,
        "observedValue": service.reason,
        "status": service.status,
        "time": datetime.now(UTC),
        **_when(service.since),
    }
    if WORDS[service.reason]:
        check["output"] = WORDS[service.reason]
    return check


def _observed(service: ServiceHealth, value: Any, unit: str = "") -> dict[str, Any]:
    """What a layer says: not a judgement, which is the service's."""
    return {
        "componentType": "component",
        "componentId": service.backend,
        "observedValue": value,
        **({"observedUnit": unit} if unit else {}),
        "time": datetime.now(UTC),
    }


def _when(since: datetime | None) -> dict[str, Any]:
    return {} if since is None else {"since": since}
