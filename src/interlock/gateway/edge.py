"""The ASGI application: who may pass, which endpoint answers, and what becomes of its errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from time import perf_counter
from typing import Any, Final, cast

import structlog
from starlette.routing import Match, Route, Router

from interlock.app import App
from interlock.contract import Identity
from interlock.entity import Entity
from interlock.errors import InterlockError, Unauthenticated
from interlock.gateway.calls import Call, Disconnected, Endpoint, Receive, Scope, Send, header_of
from interlock.gateway.cors import Cors
from interlock.gateway.limits import Buckets
from interlock.gateway.metrics import Meter
from interlock.gateway.problems import NoRoute, NotAllowed, UriTooLong, reply_to
from interlock.gateway.records import Lists
from interlock.gateway.replies import Reply, Stream
from interlock.gateway.signing import UrlSigner
from interlock.identifiers import new_id
from interlock.services import Services
from interlock.settings import Settings

__all__ = ["PREFIX", "Edge"]

PREFIX: Final = "/api/v1"
LONGEST_URL: Final = 60_000
LONGEST_TOKEN: Final = 8_192
MOST_READERS: Final = 5_000

_log = structlog.get_logger("interlock.gateway")
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")
_NO_STORE: Final = (b"cache-control", b"no-store")


class _Failed(InterlockError):
    """What the caller is told of an error that nobody foresaw."""

    code = "internal"
    status = 500


class Edge:
    """Serves one `App` over HTTP. Made by `create_app`; the app's owner closes the app."""

    prefix = PREFIX

    def __init__(self, app: App) -> None:
        self.app = app
        self.settings: Settings = app.settings
        self.entities: dict[str, Entity[Any]] = {
            resource: entity for resource, entity in app.entities.items() if not entity.internal
        }
        self.calls = Buckets(self.settings.rate_limit, self.settings.rate_limit * 2, "too many calls")
        self.log_ins = Buckets(self.settings.login_limit / 60, self.settings.login_limit, "too many attempts")
        self.signer = UrlSigner.from_directory(self.settings.home / "keys")
        self.meter = Meter()
        self.cors = Cors(self.settings.cors_origins)
        self.stopping = asyncio.Event()
        self.started = False
        self._readers: dict[Identity, Services] = {}
        self._lists = {f"{PREFIX}/{resource}": Lists(entity) for resource, entity in self.entities.items()}
        self._router = Router(redirect_slashes=False)

    # -- wiring ---------------------------------------------------------------------------------------------------

    def route(self, method: str, path: str, endpoint: Endpoint, *, public: bool = False) -> None:
        """Answer a method on a path template with an endpoint; unless it is public, to those alone whose token is good."""
        self._router.routes.append(Route(path, _Served(self, endpoint, path, public), methods=[method]))

    def lists(self, path: str) -> Lists:
        """The lists under a path."""
        return self._lists[path]

    def identify(self, authorization: bytes | None) -> Identity:
        """Who a bearer token says. Raises `Unauthenticated`, and `RateLimited` for one who calls too often."""
        if authorization is None:
            raise Unauthenticated("no token was sent; log in and send it as Authorization: Bearer …")
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not token or len(token) > LONGEST_TOKEN or not token.isascii():
            raise Unauthenticated("Authorization is not a bearer token; log in and send Bearer …")
        identity = self.app.verifier.verify(token.strip().decode())
        if self.calls.rate:
            self.calls.take(f"{identity.tenant_id}/{identity.user_id}")
        return identity

    # -- ASGI -----------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003, "reason": "this server speaks HTTP"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.started = True
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self.stopping.set()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = perf_counter()
        template, reply = await self.answer(scope, receive)
        if reply is None:
            return
        self.meter.count(scope["method"], template, reply.status, perf_counter() - begun)
        self.cors.add(scope, reply.headers)
        reply.headers.append(_NO_SNIFF)
        if isinstance(reply, Reply):
            await self._send(reply, scope["method"] == "HEAD", send)
        else:
            await self._stream(reply, scope["method"] == "HEAD", receive, send)

    async def answer(self, scope: Scope, receive: Receive) -> tuple[str, Reply | Stream | None]:
        """The route's template and the answer; None where the caller has gone."""
        path: str = scope["path"]
        method: str = scope["method"]
        lists = self._lists.get(path) if method in ("GET", "HEAD") else None
        template = "unmatched"
        try:
            if lists is not None:
                # The commonest call, on the shortest way: no router, no request object.
                template = path
                self._check_url(scope)
                identity = self.identify(header_of(scope, b"authorization"))
                listing = lists.listing(scope["query_string"])
                return template, await lists.answer(self._reader(identity), listing)
            if method == "OPTIONS":
                return "preflight", self.cors.preflight(scope)
            self._check_url(scope)
            served = self._served(scope)
            template = served.template
            call = Call(self, scope, receive)
            if not served.public:
                call.identity  # noqa: B018 - raises for nobody and for anybody too fast, before their body is read
            return template, await served.endpoint(call)
        except InterlockError as error:
            return template, reply_to(error, self._about(path), path)
        except Disconnected:
            return template, None
        except Exception as error:  # noqa: BLE001 - the last resort: nobody is told what nobody foresaw
            return template, self._failed(error, method, template)

    def _reader(self, identity: Identity) -> Services:
        """The services for a caller who only reads: kept for the next call, as nothing of a read stays in them."""
        services = self._readers.get(identity)
        if services is None:
            if len(self._readers) >= MOST_READERS:
                self._readers.clear()
            services = self._readers[identity] = self.app.services(identity)
        return services

    def _check_url(self, scope: Scope) -> None:
        if len(scope["query_string"]) + len(scope["path"]) > LONGEST_URL:
            raise UriTooLong({"query": f"the address is longer than {LONGEST_URL} bytes; use POST …/_find or …/_bulk"})

    def _served(self, scope: Scope) -> _Served:
        allow: list[str] = []
        for route in cast("list[Route]", self._router.routes):
            match, child = route.matches(scope)
            if match is Match.FULL:
                scope.update(child)
                return cast("_Served", route.endpoint)
            if match is Match.PARTIAL:
                allow += sorted(route.methods or ())
        if allow:
            raise NotAllowed(scope["method"], ", ".join(dict.fromkeys(allow)))
        raise NoRoute(f"nothing is served under {scope['path'][:200]}; see /openapi.json")

    def _about(self, path: str) -> Entity[Any] | None:
        """The entity whose fields an error's names are."""
        if not path.startswith(PREFIX):
            return None
        return self.entities.get(path[len(PREFIX) + 1 :].partition("/")[0])

    def _failed(self, error: Exception, method: str, template: str) -> Reply:
        """Logged under a number that the caller is told; neither has what was sent."""
        number = new_id()
        frames = []
        trace = error.__traceback__
        while trace is not None:
            frames.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
            trace = trace.tb_next
        _log.error(
            "unforeseen", number=number, method=method, route=template, error=type(error).__name__, at=frames[-8:]
        )
        return reply_to(_Failed("something went wrong here; it has been logged"), None, f"urn:uuid:{number}")

    # -- sending --------------------------------------------------------------------------------------------------

    async def _send(self, reply: Reply, head: bool, send: Send) -> None:
        headers = reply.headers
        if reply.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if head else reply.body})

    async def _stream(self, reply: Stream, head: bool, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_gone(receive))
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        chunks = cast("Any", reply.chunks)
        try:
            async with aclosing(chunks):
                if not head:
                    async for chunk in _until(chunks, gone):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()


async def _gone(receive: Receive) -> None:
    """Returns once the caller has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until(chunks: AsyncIterator[bytes], gone: asyncio.Future[None]) -> AsyncIterator[bytes]:
    """The pieces until the caller goes."""
    while True:
        step = asyncio.ensure_future(_next(chunks))
        try:
            await asyncio.wait((step, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not step.done():
                step.cancel()
                await asyncio.wait((step,))
        if step.cancelled() or (chunk := step.result()) is None:
            return
        yield chunk


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


class _Served:
    """An endpoint under its template, as Starlette's routes hold it."""

    def __init__(self, edge: Edge, endpoint: Endpoint, template: str, public: bool) -> None:
        self.edge = edge
        self.endpoint = endpoint
        self.template = template
        self.public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.edge(scope, receive, send)
