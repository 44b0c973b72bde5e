"""One call as the endpoints see it: who calls, what was sent, and how an expected version and an operation id are written."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from interlock.contract import Identity
from interlock.entity import Entity
from interlock.errors import NotFound
from interlock.gateway.bodies import decode_json
from interlock.gateway.params import Parameters, split_query
from interlock.gateway.problems import MediaType, NoRoute, Refused, TooLarge
from interlock.gateway.replies import Reply, Stream
from interlock.services import EntityService, Services
from interlock.tokens import VOUCHER_HEADER

if TYPE_CHECKING:
    from interlock.gateway.edge import Edge

__all__ = ["Call", "Disconnected", "Endpoint", "Message", "Receive", "Scope", "Send", "header_of"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Endpoint = Callable[["Call"], Awaitable[Reply | Stream]]

DRAINED: Final = 64 << 20
"""Bytes of a refused body that are still read, so that the client reads the answer instead of a broken pipe."""

_TAG = re.compile(r'(?:W/)?"(\d{1,15})"')
_OPERATION = re.compile(r"[\x21-\x7e]{1,255}")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_JSON_TYPE = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json", re.IGNORECASE)


class Disconnected(Exception):
    """Nobody is left to be answered."""


def header_of(scope: Scope, name: bytes) -> bytes | None:
    """A header's first value; the name in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


class Call:
    """One HTTP call."""

    def __init__(self, edge: Edge, scope: Scope, receive: Receive) -> None:
        self.edge = edge
        self.scope = scope
        self.receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.path_params: Mapping[str, str] = scope.get("path_params") or {}

    # -- who ------------------------------------------------------------------------------------------------------

    @cached_property
    def identity(self) -> Identity:
        """Who the token says. Raises `Unauthenticated`, and `RateLimited` for one who calls too often."""
        return self.edge.identify(header_of(self.scope, b"authorization"))

    @cached_property
    def services(self) -> Services:
        """The services for this caller."""
        app = self.edge.app
        checked = app.verifier.vouches(self.header(VOUCHER_HEADER.lower().encode()))
        return app.services(self.identity, references_checked=checked)

    @property
    def address(self) -> str:
        """The caller's network address."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    # -- what -----------------------------------------------------------------------------------------------------

    @cached_property
    def entity(self) -> Entity[Any]:
        """The entity that the path names. Raises `NoRoute`."""
        found = self.edge.entities.get(self.path_params["resource"])
        if found is None:
            raise NoRoute(f"nothing is served under {self.path}")
        return found

    @property
    def service(self) -> EntityService[Any]:
        """The service of the entity that the path names."""
        return self.services.of(self.entity.resource)

    @property
    def id(self) -> str:
        """The record id in the path. Raises `NotFound` for what cannot be one."""
        return clean_id(self.entity.resource, self.path_params["id"])

    def header(self, name: bytes) -> str | None:
        """A header's value; the name in lower case."""
        value = header_of(self.scope, name)
        return None if value is None else value.decode("latin-1").strip()

    @property
    def query(self) -> Parameters:
        """The parameters of the query string."""
        return split_query(self.scope["query_string"])

    def no_query(self) -> None:
        """Raise `Invalid` where there are parameters: nothing that was said is passed over."""
        for name, _ in self.query:
            raise Refused({name: "is not a parameter here; leave it out"})

    @property
    def expected_version(self) -> int | None:
        """The version in `If-Match`."""
        text = self.header(b"if-match")
        if text is None or text == "*":
            return None
        found = _TAG.fullmatch(text)
        if found is None:
            raise Refused({"If-Match": 'is not a version as ETag gives it, such as "3"'})
        return int(found.group(1))

    @property
    def operation_id(self) -> str | None:
        """The key in `Idempotency-Key`."""
        text = self.header(b"idempotency-key")
        if text is None:
            return None
        if not _OPERATION.fullmatch(text):
            raise Refused({"Idempotency-Key": "is not 1 to 255 visible ASCII characters"})
        return text

    # -- body -----------------------------------------------------------------------------------------------------

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """The body, piece by piece. Raises `TooLarge` beyond `limit` bytes."""
        size = 0
        while True:
            message = await self.receive()
            if message["type"] != "http.request":
                raise Disconnected
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                await self._drain(message, size)
                raise TooLarge({"body": f"is larger than {limit} bytes; send less"})
            if chunk:
                yield chunk
            if not message.get("more_body", False):
                return

    async def _drain(self, message: Message, size: int) -> None:
        while message.get("more_body", False) and size < DRAINED:
            message = await self.receive()
            if message["type"] != "http.request":
                raise Disconnected
            size += len(message.get("body", b""))

    async def body(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks(self.edge.settings.body_limit)])

    async def json(self, *, empty: Any = None) -> Any:
        """The body as JSON, `empty` where there is none. Raises `Invalid` (400), `MediaType` (415), `TooLarge` (413)."""
        raw = await self.body()
        self._check_type()
        if not raw:
            if empty is not None:
                return empty
            raise Refused({"body": "is empty; send JSON"})
        return decode_json(raw)

    def _check_type(self) -> None:
        encoding = self.header(b"content-encoding")
        if encoding not in (None, "", "identity"):
            raise MediaType({"Content-Encoding": "is not identity; send the body as it is"})
        sent = self.header(b"content-type")
        if not sent:
            return
        kind, *parameters = sent.split(";")
        if not _JSON_TYPE.fullmatch(kind.strip()):
            raise MediaType({"Content-Type": f"is {kind.strip()[:100]}; send application/json"})
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "charset" and value.strip(' "').lower() not in ("utf-8", "utf8", "us-ascii"):
                raise MediaType({"Content-Type": f"has the charset {value.strip()[:50]}; send UTF-8"})


def clean_id(resource: str, id: str) -> str:
    """The id, if it can be one. Raises `NotFound`: what cannot be an id has no record."""
    if not id or len(id) > 200 or _UNPRINTABLE.search(id):
        raise NotFound(resource, id[:50])
    return id
