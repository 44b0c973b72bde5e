"""Puts the gateway together: every path with its endpoint."""

from __future__ import annotations

from typing import Final

from interlock.app import App
from interlock.gateway import accounts, actions, batch, bulk, events, files, records, system
from interlock.gateway.calls import Call, Endpoint
from interlock.gateway.docs import page
from interlock.gateway.edge import PREFIX, Edge
from interlock.gateway.health import Health
from interlock.gateway.openapi import document
from interlock.gateway.problems import NoRoute
from interlock.gateway.replies import Reply, json_reply

__all__ = ["create_app"]

_KEPT: Final = (b"cache-control", b"public, max-age=300")
_SCRIPTLESS: Final = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'")
_RESOURCE: Final = PREFIX + "/{resource}"
_RECORD: Final = _RESOURCE + "/{id}"
_CONTENT: Final = PREFIX + "/files/{id}/content"

_PUBLIC: Final[tuple[tuple[str, str, Endpoint], ...]] = (
    ("GET", "/metrics", system.metrics),
    ("GET", "/.well-known/jwks.json", system.jwks),
    ("POST", f"{PREFIX}/auth/login", accounts.login),
    ("POST", f"{PREFIX}/auth/refresh", accounts.refresh),
    ("POST", f"{PREFIX}/auth/sign-up", accounts.sign_up),
    ("POST", f"{PREFIX}/auth/magic-link", accounts.magic_link),
    ("POST", f"{PREFIX}/auth/magic-link/redeem", accounts.redeem),
    ("POST", f"{PREFIX}/auth/password-reset", accounts.request_reset),
    ("POST", f"{PREFIX}/auth/password-reset/confirm", accounts.reset),
    ("GET", _CONTENT, files.download),
)
"""Answered without a token; a download checks its own, or the signature in its address."""

_ROUTES: Final[tuple[tuple[str, str, Endpoint], ...]] = (
    ("GET", f"{PREFIX}/_status", system.status),
    ("POST", f"{PREFIX}/_switch", system.switch),
    ("POST", f"{PREFIX}/batch", batch.batch),
    ("POST", f"{PREFIX}/auth/logout", accounts.logout),
    ("GET", f"{PREFIX}/auth/me", accounts.current),
    ("POST", PREFIX + "/{service}/actions/{name}", actions.act),
    ("PUT", _CONTENT, files.upload),
    ("DELETE", _CONTENT, files.drop),
    ("POST", PREFIX + "/files/{id}/signed-url", files.sign),
    ("POST", _RESOURCE + "/_bulk", bulk.bulk),
    ("POST", _RESOURCE + "/_aggregate", bulk.aggregate),
    ("POST", _RESOURCE + "/_put", bulk.put),
    ("POST", _RESOURCE + "/_find", records.find_by_body),
    ("GET", _RESOURCE + "/changes", events.changes),
    ("POST", _RESOURCE, records.create),
    ("GET", _RECORD, records.one),
    ("PATCH", _RECORD, records.update),
    ("PUT", _RECORD, records.update),
    ("DELETE", _RECORD, records.delete),
    ("POST", _RECORD + "/restore", records.restore),
)
"""Fixed paths come before those with a resource in them."""


def create_app(app: App) -> Edge:
    """The gateway over a running `App`, as an ASGI application. Whoever opened the app closes it."""
    edge = Edge(app)
    health = Health(edge, app.health)
    described = document(edge)
    for_machines = json_reply(described, headers=[_KEPT])
    for_people = Reply(200, [(b"content-type", b"text/html; charset=utf-8"), _KEPT, _SCRIPTLESS], page(described))

    async def openapi(call: Call) -> Reply:
        return Reply(200, list(for_machines.headers), for_machines.body)

    async def docs(call: Call) -> Reply:
        return Reply(200, list(for_people.headers), for_people.body)

    async def unlisted(call: Call) -> Reply:
        """GET of a resource that has a list is answered before any route; what comes here has none."""
        raise NoRoute(f"nothing is served under {call.path[:200]}; see /openapi.json")

    own: tuple[tuple[str, str, Endpoint], ...] = (
        ("GET", "/livez", health.live),
        ("GET", "/startupz", health.startup),
        ("GET", "/readyz", health.ready),
        ("GET", "/health", health.whole),
        ("GET", "/openapi.json", openapi),
        ("GET", "/docs", docs),
    )
    for method, path, endpoint in (*own, *_PUBLIC):
        edge.route(method, path, endpoint, public=True)
    for method, path, endpoint in (*_ROUTES, ("GET", _RESOURCE, unlisted)):
        edge.route(method, path, endpoint)
    return edge
