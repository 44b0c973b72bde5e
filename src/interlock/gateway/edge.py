"""The ASGI application: who may pass, which endpoint answers, and what becomes of its errors."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib.metadata import version
from time import perf_counter
from typing import Any, Final, cast

from msgspec.structs import replace
from starlette.routing import Match, Route

from interlock.app import App
from interlock.contract import Identity
from interlock.entity import Entity
from interlock.errors import InterlockError
from interlock.gateway.callers import Callers
from interlock.gateway.calls import Call, Disconnected, Endpoint, Receive, Scope, Send, header_of
from interlock.gateway.cors import Cors
from interlock.gateway.limits import Buckets
from interlock.gateway.memory import Bodies
from interlock.gateway.metrics import METHODS, Meter
from interlock.gateway.problems import NoRoute, NotAllowed, UriTooLong, reply_to
from interlock.gateway.records import Lists
from interlock.gateway.replies import Headers, Reply, Stream
from interlock.gateway.signing import UrlSigner
from interlock.identifiers import new_id
from interlock.log import get_logger
from interlock.observability.exposition import Exposition
from interlock.observability.logs import frames_of
from interlock.settings import Settings

__all__ = ["PREFIX", "Edge"]

PREFIX: Final = "/api/v1"
_RECORD: Final = PREFIX + "/{resource}/{id}"
_BELOW: Final = len(PREFIX) + 1
LONGEST_URL: Final = 60_000
_GONE: Final = 499
"""The status of a request whose caller left, in logs and traces: nobody was answered."""

_log = get_logger("interlock.gateway")
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
        self.exposition = Exposition(app.observability.recorder, version("interlock"))
        self._meter = Meter(app.observability.recorder.http)
        self.cors = Cors(self.settings.cors_origins)
        self.stopping = asyncio.Event()
        self.started = False
        self._callers = Callers(app, self.calls)
        self.bodies = Bodies()
        self._lists = {resource: Lists(entity, self.bodies) for resource, entity in self.entities.items()}
        self._words: set[str] = set()
        """What stands in the place of an id and is none."""
        self._routes: defaultdict[int, list[Route]] = defaultdict(list)
        """By how many slashes their paths have: no part of a path matches a slash."""

    # -- wiring ---------------------------------------------------------------------------------------------------

    def route(self, method: str, path: str, endpoint: Endpoint, *, public: bool = False) -> None:
        """Answer a method on a path template with an endpoint; unless it is public, to those alone whose token is good."""
        route = Route(path, _Served(self, endpoint, path, public), methods=[method])
        self._routes[path.count("/")].append(route)
        last = path.rpartition("/")[2]
        if "{" not in last:
            self._words.add(last)

    def lists(self, resource: str) -> Lists:
        """The reads of a resource."""
        return self._lists[resource]

    def identify(self, authorization: bytes | None) -> Identity:
        """Who a bearer token says. Raises `Unauthenticated`, and `RateLimited` for one who calls too often."""
        return self._callers.of(authorization).identity

    # -- ASGI -----------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        begun = perf_counter()
        method: str = scope["method"]
        if self.app.observability.watches_requests:
            template, reply = await self._watched(scope, receive)
        else:
            template, reply = await self.answer(scope, receive)
        if reply is None:
            return
        self._meter.count(method, template, reply.status, perf_counter() - begun)
        headers = reply.headers + self.cors.headers(scope)
        headers.append(_NO_SNIFF)
        if isinstance(reply, Stream):
            await self._stream(reply, headers, method == "HEAD", receive, send)
            return
        body = reply.body
        if reply.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
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

    async def _watched(self, scope: Scope, receive: Receive) -> tuple[str, Reply | Stream | None]:
        """The same, logged and traced under an id that the caller is told."""
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        with self.app.observability.request(method, told) as request:
            template, reply = await self.answer(scope, receive)
            request.route = template
            if reply is None:
                request.status = _GONE
                return template, None
            request.status = reply.status
            named = (b"x-request-id", request.id.encode())
            return template, replace(reply, headers=[*reply.headers, named])

    async def answer(self, scope: Scope, receive: Receive) -> tuple[str, Reply | Stream | None]:
        """The route's template and the answer; None where the caller has gone. The answer's headers are not the caller's to change."""
        path: str = scope["path"]
        method: str = scope["method"]
        template = "unmatched"
        try:
            if method == "OPTIONS":
                return "preflight", self.cors.preflight(scope)
            self._check_url(scope)
            if method in ("GET", "HEAD") and path[:_BELOW] == f"{PREFIX}/":
                # The commonest calls, on the shortest way: no router, no request object.
                resource, below, named = path[_BELOW:].partition("/")
                lists = self._lists.get(resource)
                if lists is not None and not below:
                    template = path
                    caller = self._callers.of(header_of(scope, b"authorization"))
                    return template, await lists.answer(caller.services, lists.listing(scope["query_string"]))
                if lists is not None and named and "/" not in named and named not in self._words:
                    template = _RECORD
                    caller = self._callers.of(header_of(scope, b"authorization"))
                    return template, await lists.one(caller.services, scope, named)
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

    def _check_url(self, scope: Scope) -> None:
        if len(scope["query_string"]) + len(scope["path"]) > LONGEST_URL:
            raise UriTooLong({"query": f"the address is longer than {LONGEST_URL} bytes; use POST …/_find or …/_bulk"})

    def _served(self, scope: Scope) -> _Served:
        allow: list[str] = []
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        for route in self._routes.get(path.count("/"), ()):
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
        """Logged, and reported, under a number that the caller is told; none of them has what was sent."""
        number = new_id()
        method = method if method in METHODS else "_OTHER"
        _log.error(
            "unforeseen",
            number=number,
            method=method,
            route=template,
            error=type(error).__name__,
            at=frames_of(error.__traceback__),
        )
        self.app.observability.report(error, where="gateway", method=method, route=template, number=number)
        return reply_to(_Failed("something went wrong here; it has been logged"), None, f"urn:uuid:{number}")

    # -- sending --------------------------------------------------------------------------------------------------

    async def _stream(self, reply: Stream, headers: Headers, head: bool, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_gone(receive))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
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
