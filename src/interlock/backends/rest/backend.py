"""The REST backend: any API that a dialect describes, behind the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from types import MappingProxyType
from typing import Any

from interlock.abilities import BlobInfo, Health, Session, TokenSource
from interlock.backends.rest.accounts import RemoteAccounts
from interlock.backends.rest.caller import Caller, RestSettings
from interlock.backends.rest.codec import Codec
from interlock.backends.rest.events import watched
from interlock.backends.rest.faults import Concern
from interlock.backends.rest.files import RemoteFiles
from interlock.backends.rest.native import NativeWire
from interlock.backends.rest.plain import Clock, PlainWire, utcnow
from interlock.contract import Change, Identity, Request, Response
from interlock.entity import Entity
from interlock.errors import InterlockError, Unsupported
from interlock.http import Engine, open_engine

__all__ = ["GatewayBackend", "RestBackend"]


class RestBackend:
    """One REST API as a backend.

    `tokens` gives the bearer token of each identity; None sends none. `voucher` gives what tells a gateway of this package that the calls come from services
    which have checked what they send. Where the API is a gateway of this package, by its dialect, one gets a
    `GatewayBackend`, with all of its abilities. Must be used and closed within one event loop.
    """

    def __new__(cls, settings: RestSettings, *args: Any, **options: Any) -> RestBackend:
        """The kind that the dialect asks for, as `pathlib.Path` gives the kind that the system asks for."""
        return super().__new__(GatewayBackend if cls is RestBackend and settings.dialect.own else cls)

    def __init__(
        self,
        settings: RestSettings,
        entities: Sequence[Entity[Any]],
        *,
        tokens: TokenSource | None = None,
        name: str = "real",
        engine: Engine | None = None,
        clock: Clock = utcnow,
        voucher: Callable[[], str] | None = None,
    ) -> None:
        self.name = name
        self._dialect = settings.dialect
        self._engine = engine or open_engine(settings.engine, connect_timeout=settings.connect_timeout)
        self._caller = Caller(settings, self._engine, tokens, voucher)
        self._entities = MappingProxyType({entity.resource: entity for entity in entities})
        self._codecs = MappingProxyType({e.resource: Codec(e, settings.dialect) for e in entities})
        self._wire: NativeWire | PlainWire = (
            NativeWire(self._caller, self._codecs, name)
            if settings.dialect.own
            else PlainWire(self._caller, self._codecs, name, clock)
        )

    def __repr__(self) -> str:
        return f"RestBackend({self.name!r}, {self._caller.settings.base_url!r}, dialect {self._dialect.name!r})"

    @property
    def knows_operations(self) -> bool:
        """Whether the API is told of operations, by a header."""
        return self._dialect.operation_header is not None

    async def handle(self, request: Request) -> Response:
        """One call. Raises only the contract's errors."""
        entity = self._entities.get(request.resource)
        if entity is None:
            raise Unsupported(self.name, f"the resource {request.resource!r}")
        if entity.append_only and request.verb in ("update", "delete", "restore"):
            raise Unsupported(self.name, f"{request.verb}: {request.resource} is append-only")
        return await self._wire.handle(request)

    async def probe(self, timeout: float = 2.0) -> Health:
        """Whether the API answers at all; a refusal is an answer."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        path = "_status" if self._dialect.own else next(iter(self._dialect.paths.values()), "")
        concern = Concern(self.name, "probe")
        try:
            await self._caller.send("GET", self._caller.url(path), concern, deadline=began + timeout)
        except InterlockError as error:
            answered = error.code not in ("unavailable", "deadline_exceeded")
            return Health(answered, loop.time() - began, "" if answered else error.message)
        return Health(True, loop.time() - began)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._engine.aclose()


class GatewayBackend(RestBackend):
    """A gateway of this package as a backend: it has changes, files and log-in too."""

    def __init__(
        self,
        settings: RestSettings,
        entities: Sequence[Entity[Any]],
        *,
        tokens: TokenSource | None = None,
        name: str = "real",
        engine: Engine | None = None,
        voucher: Callable[[], str] | None = None,
    ) -> None:
        super().__init__(settings, entities, tokens=tokens, name=name, engine=engine, voucher=voucher)
        self._files = RemoteFiles(self._caller, name)
        self._accounts = RemoteAccounts(self._caller, name)

    def changes(self, resource: str, identity: Identity, after: str | None = None) -> AsyncGenerator[Change, None]:
        """Accepted writes, by server-sent events; a broken stream is resumed where it broke."""
        codec = self._codecs.get(resource)
        if codec is None:
            raise Unsupported(self.name, f"the resource {resource!r}")
        return watched(self._caller, codec, self.name, identity, after)

    async def write_blob(self, identity: Identity, file_id: str, chunks: AsyncIterator[bytes]) -> BlobInfo:
        """Stream a file's bytes up."""
        return await self._files.write_blob(identity, file_id, chunks)

    async def read_blob(
        self, identity: Identity, file_id: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """Stream a file's bytes down."""
        async for chunk in self._files.read_blob(identity, file_id, start, end):
            yield chunk

    async def delete_blob(self, identity: Identity, file_id: str) -> None:
        """Forget a file's bytes."""
        await self._files.delete_blob(identity, file_id)

    async def signed_url(self, identity: Identity, file_id: str, expires: int) -> str:
        """A URL that serves the file without a token."""
        return await self._files.signed_url(identity, file_id, expires)

    async def login(self, email: str, password: str) -> Session:
        """Log in at the API."""
        return await self._accounts.login(email, password)

    async def refresh(self, refresh_token: str) -> Session:
        """New tokens for a log-in."""
        return await self._accounts.refresh(refresh_token)

    async def logout(self, session: Session) -> None:
        """End a log-in."""
        await self._accounts.logout(session)

    async def sign_up(self, email: str, password: str, display_name: str, tenant_id: str) -> None:
        """Ask for an account."""
        await self._accounts.sign_up(email, password, display_name, tenant_id)

    async def request_magic_link(self, email: str) -> None:
        """Ask for a link that logs in."""
        await self._accounts.request_magic_link(email)

    async def redeem_magic_link(self, token: str) -> Session:
        """Log in by the link's token."""
        return await self._accounts.redeem_magic_link(token)

    async def request_password_reset(self, email: str) -> None:
        """Ask for a link that resets the password."""
        await self._accounts.request_password_reset(email)

    async def reset_password(self, token: str, password: str) -> None:
        """Set a new password by the link's token."""
        await self._accounts.reset_password(token, password)
