"""What operators and machines ask: status, switches, metrics, keys."""

from __future__ import annotations

from typing import Any, Final

from interlock.app import Switch
from interlock.errors import Forbidden, Misconfigured
from interlock.gateway.bodies import object_of
from interlock.gateway.calls import Call
from interlock.gateway.problems import NoRoute, Refused
from interlock.gateway.replies import Headers, Reply, json_reply
from interlock.observability.exposition import CONTENT_TYPE
from interlock.services.policy import check

__all__ = ["jwks", "metrics", "status", "switch"]

_NO_STORE: Final = (b"cache-control", b"no-store")


async def metrics(call: Call) -> Reply:
    """GET /metrics: what this process has counted, for Prometheus."""
    if not call.edge.settings.metrics:
        raise NoRoute("metrics are switched off")
    headers: Headers = [(b"content-type", CONTENT_TYPE.encode()), _NO_STORE]
    return Reply(200, headers, call.edge.exposition.text())


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
    """POST _switch: serve a service, or `all` of them, from another backend from now on.

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
        app = call.edge.app
        if body["service"] == "all":
            return json_reply([_told(done) for done in await app.switch_all(body["backend"], call.identity)])
        return json_reply(_told(await app.switch(body["service"], body["backend"], call.identity)))
    except Misconfigured as error:
        raise Refused({"backend": "; ".join(error.problems)}) from error


def _told(done: Switch) -> dict[str, Any]:
    return {
        "service": done.service,
        "old": done.old,
        "backend": done.new,
        "epoch": done.epoch,
        "actor": done.actor,
        "at": done.at,
        "warmUp": done.warm_up,
    }
