"""What operators and machines ask: health, status, switches, metrics, keys."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, Final

import msgspec

from interlock.app import ServiceStatus
from interlock.errors import Forbidden, Misconfigured
from interlock.gateway.bodies import object_of
from interlock.gateway.calls import Call
from interlock.gateway.edge import Edge
from interlock.gateway.problems import NoRoute, Refused
from interlock.gateway.replies import Headers, Reply, json_reply
from interlock.services.policy import check

__all__ = ["Health", "jwks", "live", "metrics", "startup", "status", "switch"]

FRESH: Final = 1.0
"""Seconds that a probe's result is told again: whoever asks for health cannot make the backends work."""

_NO_STORE: Final = (b"cache-control", b"no-store")
_encode = msgspec.json.Encoder().encode


def _health(body: dict[str, Any], status: int = 200) -> Reply:
    headers: Headers = [(b"content-type", b"application/health+json"), _NO_STORE]
    return Reply(status, headers, _encode(body))


async def live(call: Call) -> Reply:
    """GET /livez: this process answers."""
    return _health({"status": "pass"})


async def startup(call: Call) -> Reply:
    """GET /startupz: the server has started."""
    return _health({"status": "pass"}) if call.edge.started else _health({"status": "fail"}, 503)


class Health:
    """Health of the backends, probed at most once a second."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._lock = asyncio.Lock()
        self._found: tuple[ServiceStatus, ...] = ()
        self._at = float("-inf")

    async def _statuses(self) -> tuple[ServiceStatus, ...]:
        async with self._lock:
            if monotonic() - self._at > FRESH:
                self._found = await self._edge.app.status()
                self._at = monotonic()
            return self._found

    async def ready(self, call: Call) -> Reply:
        """GET /readyz: 503 while stopping, and while a backend in use does not answer."""
        found = await self._statuses()
        bad = sorted({row.backend for row in found if row.health != "healthy"})
        if bad or self._edge.stopping.is_set():
            return _health({"status": "fail", "output": f"not answering: {', '.join(bad)}" if bad else "stopping"}, 503)
        return _health({"status": "pass"})

    async def whole(self, call: Call) -> Reply:
        """GET /health: every backend in use, as health+json."""
        found = await self._statuses()
        checks: dict[str, list[dict[str, Any]]] = {}
        for row in found:
            held = checks.setdefault(f"{row.backend}:responseTime", [{"componentType": "datastore", "services": []}])[0]
            held["status"] = "pass" if row.health == "healthy" else "fail"
            held["services"].append(row.service)
            if row.latency is not None:
                held |= {"observedValue": round(row.latency * 1000, 3), "observedUnit": "ms"}
        good = all(held[0]["status"] == "pass" for held in checks.values())
        body = {"status": "pass" if good else "fail", "serviceId": "interlock-gateway", "checks": checks}
        return _health(body, 200 if good else 503)


async def metrics(call: Call) -> Reply:
    """GET /metrics: what this process has counted, for Prometheus."""
    if not call.edge.settings.metrics:
        raise NoRoute("metrics are switched off")
    headers: Headers = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), _NO_STORE]
    return Reply(200, headers, call.edge.meter.text().encode())


async def jwks(call: Call) -> Reply:
    """GET the public keys of the tokens."""
    return json_reply(call.edge.app.issuer.jwks(), headers=[(b"cache-control", b"public, max-age=300")])


async def status(call: Call) -> Reply:
    """GET _status: each service with its backend, epoch, health and latency (seconds). For admins."""
    call.no_query()
    check(call.identity, "routes", "list")
    rows = await call.edge.app.status()
    return json_reply(
        [
            {
                "service": row.service,
                "backend": row.backend,
                "epoch": row.epoch,
                "stage": row.stage,
                "health": row.health,
                "latency": row.latency,
                "inFlight": row.in_flight,
                "detail": row.detail,
                "layers": row.layers,
            }
            for row in rows
        ],
        headers=[_NO_STORE],
    )


async def switch(call: Call) -> Reply:
    """POST _switch: serve a service from another backend from now on.

    Routes are every tenant's: outside development and test a tenant's admin may not turn them, only who holds the signing key.
    """
    call.no_query()
    check(call.identity, "routes", "switch")
    if call.identity.role != "system" and not call.edge.app.settings.seed_demo:
        raise Forbidden("routes: they serve every tenant here; use `interlock switch` where the product runs")
    body = object_of(await call.json(), {"service": str, "backend": str})
    missing = {name: "is required" for name in ("service", "backend") if not body.get(name)}
    if missing:
        raise Refused(missing)
    try:
        done = await call.edge.app.switch(body["service"], body["backend"], call.identity)
    except Misconfigured as error:
        raise Refused({"backend": "; ".join(error.problems)}) from error
    return json_reply(
        {
            "service": done.service,
            "old": done.old,
            "backend": done.new,
            "epoch": done.epoch,
            "actor": done.actor,
            "at": done.at,
        }
    )
