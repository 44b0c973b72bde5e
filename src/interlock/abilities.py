"""What a backend may be able to do beside `Backend.handle`: small Protocols, each of them optional.

A backend has an ability by having its methods. Asking a route for one that its backend lacks raises `Unsupported`
before anything is sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import msgspec

from interlock.contract import Change, Identity, Record

__all__ = [
    "Authenticates",
    "BlobInfo",
    "Closes",
    "FindsAccounts",
    "ForwardsAudit",
    "Health",
    "Invokes",
    "KnowsOperations",
    "OAuth",
    "OAuthStart",
    "Probes",
    "RecoversAccounts",
    "Session",
    "SignsUrls",
    "StoresFiles",
    "Subscribes",
    "TokenSource",
]


class Health(msgspec.Struct, frozen=True):
    """What a probe found. `latency` is in seconds; `detail` is for people and holds no secret."""

    healthy: bool
    latency: float
    detail: str = ""
    version: str = ""


class BlobInfo(msgspec.Struct, frozen=True):
    """A stored blob: `size` in bytes, `sha256` in lower-case hex."""

    size: int
    sha256: str


class Session(msgspec.Struct, frozen=True):
    """A log-in: who, and the tokens that prove it. `expires_at` is the access token's. Its repr hides the tokens."""

    identity: Identity
    access_token: str
    refresh_token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Session(identity={self.identity!r}, expires_at={self.expires_at.isoformat()}, tokens hidden)"


class OAuthStart(msgspec.Struct, frozen=True):
    """Where to send the user, and the PKCE verifier to hand back with the code."""

    url: str
    verifier: str

    def __repr__(self) -> str:
        return f"OAuthStart(url={self.url!r}, verifier hidden)"


@runtime_checkable
class Closes(Protocol):
    """Holds resources. Closing twice does nothing more."""

    async def aclose(self) -> None: ...


@runtime_checkable
class Probes(Protocol):
    """Says whether it is there. Answers within `timeout` seconds and never raises."""

    async def probe(self, timeout: float = 2.0) -> Health: ...


@runtime_checkable
class Subscribes(Protocol):
    """Tells of accepted writes of the identity's tenant, each once, in the order of each record's versions.

    With `after` (a `Change.position`) it resumes; where what came since is no longer known, the first change is a `resync`.
    A watcher that reads too slowly gets a `resync` too, never an unbounded buffer.
    """

    def changes(self, resource: str, identity: Identity, after: str | None = None) -> AsyncIterator[Change]: ...


@runtime_checkable
class StoresFiles(Protocol):
    """Keeps the bytes of files, by tenant (from the identity) and file id. Streams both ways, in bounded memory."""

    async def write_blob(self, identity: Identity, file_id: str, chunks: AsyncIterator[bytes]) -> BlobInfo:
        """Store the chunks, replacing what was there only when all have arrived."""
        ...

    def read_blob(
        self, identity: Identity, file_id: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes from `start` up to but without `end`. Raises `NotFound` at the first step if there is no blob."""
        ...

    async def delete_blob(self, identity: Identity, file_id: str) -> None:
        """Forget the bytes; nothing happens where there are none."""
        ...


@runtime_checkable
class SignsUrls(Protocol):
    """Makes URLs that need no token, for a while."""

    async def signed_url(self, identity: Identity, file_id: str, expires: int) -> str:
        """A URL that serves the file for `expires` seconds."""
        ...


@runtime_checkable
class Authenticates(Protocol):
    """Logs users in by password. Raises `Unauthenticated` alike for an unknown user and a wrong password."""

    async def login(self, email: str, password: str) -> Session: ...

    async def refresh(self, refresh_token: str) -> Session: ...

    async def logout(self, session: Session) -> None: ...


@runtime_checkable
class RecoversAccounts(Protocol):
    """Sign-up, magic links and password resets. Tells nobody whether an address has an account."""

    async def sign_up(self, email: str, password: str, display_name: str, tenant_id: str) -> None: ...

    async def request_magic_link(self, email: str) -> None: ...

    async def redeem_magic_link(self, token: str) -> Session: ...

    async def request_password_reset(self, email: str) -> None: ...

    async def reset_password(self, token: str, password: str) -> None: ...


@runtime_checkable
class OAuth(Protocol):
    """Log-in through another provider, with PKCE."""

    async def start_oauth(self, provider: str, redirect_to: str) -> OAuthStart: ...

    async def finish_oauth(self, code: str, verifier: str) -> Session: ...


@runtime_checkable
class Invokes(Protocol):
    """Runs a named function beside the data."""

    async def invoke(self, identity: Identity, name: str, arguments: Mapping[str, Any]) -> Any: ...


@runtime_checkable
class ForwardsAudit(Protocol):
    """Writes audit entries in each write's own transaction, and hands them on until they are acknowledged."""

    async def pending_audit(self, limit: int = 100) -> Sequence[Record]:
        """The oldest entries not acknowledged, of all tenants."""
        ...

    async def acknowledge_audit(self, ids: Sequence[str]) -> None: ...


@runtime_checkable
class KnowsOperations(Protocol):
    """Says whether it knows a write again by its operation id, as the contract asks. A backend that does not say so does."""

    @property
    def knows_operations(self) -> bool:
        """False where the same write sent twice may be carried out twice."""
        ...


class TokenSource(Protocol):
    """Hands out the tokens that a backend sends: what a backend needs, not what it can do."""

    async def token(self, identity: Identity, *, refresh: bool = False) -> str:
        """A token that proves the identity. `refresh` asks for a new one, after the last was refused (401)."""
        ...


@runtime_checkable
class FindsAccounts(Protocol):
    """Finds records across tenants by a folded unique value: for log-in alone, which cannot know the tenant yet."""

    async def find_accounts(self, resource: str, field: str, value: str) -> Sequence[Record]:
        """All undeleted records, of any tenant, whose field has the folded value."""
        ...
