"""Log-in for backends that keep users and credentials themselves: passwords, refresh tokens, magic links, resets.

Written once over any backend that stores `users` and `credentials` and can find them across tenants. What is stored are salted hashes
(argon2id) of passwords and SHA-256 digests of random tokens, never the things themselves. Nobody learns from an answer whether an
address has an account.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol, cast

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from interlock.abilities import FindsAccounts, Session
from interlock.contract import Backend, Condition, Group, Identity, Outcome, Query, Request
from interlock.entities.user import Credential, User
from interlock.entity import fold
from interlock.errors import Conflict, Duplicate, InterlockError, Invalid, NotFound, Unauthenticated, Unavailable
from interlock.identifiers import new_id
from interlock.log import get_logger
from interlock.tokens import TokenIssuer

__all__ = ["Accounts", "FileOutbox", "Message", "Messenger", "hash_password", "password_lookup"]

ACCESS_TTL: Final = 900.0
REFRESH_TTL: Final = 30 * 86_400.0
LINK_TTL: Final = 900.0
MIN_PASSWORD: Final = 10
MAX_PASSWORD: Final = 1_024

Purpose = Literal["magic_link", "reset", "sign_up"]

_USED: Final = ":used"
_ENDED_BY_RESET: Final = ("refresh", "magic_link", "reset")
_log = get_logger("interlock")
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


class Message(msgspec.Struct, frozen=True):
    """A message that only the owner of an address may read. Its repr hides the token."""

    to: str
    purpose: Purpose
    token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Message(to={self.to!r}, purpose={self.purpose!r}, token hidden)"


class Messenger(Protocol):
    """Brings a message to an address."""

    async def send(self, message: Message) -> None: ...


class FileOutbox:
    """Writes each message as a JSON file into a directory: for embedded use, where no mail is sent."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def send(self, message: Message) -> None:
        """Write one file, readable by its owner alone."""
        try:
            await asyncio.to_thread(self._write, message)
        except OSError as error:
            raise Unavailable(f"{self.directory}: cannot be written ({error.strerror})") from error

    def _write(self, message: Message) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.directory / f"{new_id()}.json"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(message))


def hash_password(password: str) -> str:
    """The salted argon2id hash of a password. Raises `Invalid` for one that is too short or too long."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise Invalid({"password": f"needs {MIN_PASSWORD} to {MAX_PASSWORD} characters"})
    try:
        return _hasher.hash(password)
    except UnicodeEncodeError as error:
        raise Invalid({"password": "has a lone surrogate; remove it"}) from error


def password_lookup(user_id: str) -> str:
    """What finds the password credential of a user, whatever becomes of their address."""
    return f"password:{user_id}"


def _digest(token: str) -> str:
    return "token:" + hashlib.sha256(token.encode(errors="replace")).hexdigest()


class Store(Backend, FindsAccounts, Protocol):
    """What accounts are kept in."""


class Accounts:
    """`Authenticates` and `RecoversAccounts` over a backend."""

    def __init__(
        self,
        backend: Store,
        issuer: TokenIssuer,
        *,
        clock: Callable[[], datetime],
        messenger: Messenger | None = None,
        ttl: float = ACCESS_TTL,
        refresh_ttl: float = REFRESH_TTL,
    ) -> None:
        self._backend = backend
        self._issuer = issuer
        self._clock = clock
        self._messenger = messenger
        self._ttl = ttl
        self._refresh_ttl = refresh_ttl
        self._nobody: str | None = None

    # -- sessions -------------------------------------------------------------------------------------------------

    async def login(self, email: str, password: str) -> Session:
        """A session for an address and its password. Where one address has accounts in several tenants, the password decides."""
        for user in await self._users(email) or (None,):
            credential = await self._password_of(user) if user is not None else None
            if await self._matches(credential, password) and user is not None:
                return await self._session(user, new_id())
        raise Unauthenticated("the address or the password is wrong")

    async def session_for(self, email: str) -> Session:
        """A session for an address that somebody trusted vouches for, such as an OAuth provider. Not for an edge to call."""
        for user in await self._users(email):
            return await self._session(user, new_id())
        raise Unauthenticated("nobody here has this address")

    async def refresh(self, refresh_token: str) -> Session:
        """A new session; the refresh token is used up. One that is used twice ends every session of its log-in."""
        (credential,) = await self._credentials(_digest(refresh_token), "refresh") or (None,)
        if credential is None:
            raise Unauthenticated("the refresh token is not good; log in again")
        if credential.secret.endswith(_USED):
            await self._end_family(credential)
            raise Unauthenticated("the refresh token was used before; log in again")
        user = await self._active_user(credential)
        if user is None or self._expired(credential):
            raise Unauthenticated("the refresh token is no longer good; log in again")
        if not await self._take(credential, secret=credential.secret + _USED):
            raise Unauthenticated("the refresh token was just used; log in again")
        return await self._session(user, credential.secret)

    async def logout(self, session: Session) -> None:
        """End the log-in: its refresh tokens are no longer good."""
        (credential,) = await self._credentials(_digest(session.refresh_token), "refresh") or (None,)
        if credential is not None:
            await self._end_family(credential)

    # -- recovery -------------------------------------------------------------------------------------------------

    async def sign_up(self, email: str, password: str, display_name: str, tenant_id: str) -> None:
        """Set the first password of an invited user, once they have followed the link that is sent to their address.

        An address that the tenant has not invited gets nothing, and the caller sees no difference.
        """
        self._post()
        secret = await asyncio.to_thread(hash_password, password)
        for user in await self._users(email):
            invited = user.tenant_id == tenant_id
            if invited and not await self._password_of(user):
                await self._send(user, "sign_up", f"{secret}\n{display_name[:200]}")

    async def request_magic_link(self, email: str) -> None:
        """Send a link that logs in once."""
        self._post()
        for user in await self._users(email):
            await self._send(user, "magic_link")

    async def redeem_magic_link(self, token: str) -> Session:
        """A session for the token of a magic link, or of a sign-up, whose password is set by it."""
        credential, user = await self._redeemed(token, "magic_link")
        if credential.secret:
            secret, _, display_name = credential.secret.partition("\n")
            await self._set_password(user, secret)
            if display_name:
                await self._write(
                    user.tenant_id, "update", "users", ids=(user.id,), patch={"display_name": display_name}
                )
        return await self._session(user, new_id())

    async def request_password_reset(self, email: str) -> None:
        """Send a link that sets a new password."""
        self._post()
        for user in await self._users(email):
            await self._send(user, "reset")

    async def reset_password(self, token: str, password: str) -> None:
        """Set a new password, and end every session of the user and every link that was sent."""
        secret = await asyncio.to_thread(hash_password, password)
        _, user = await self._redeemed(token, "reset")
        await self._set_password(user, secret)
        await self._end(user.tenant_id, Condition("user_id", "eq", user.id), Condition("kind", "in", _ENDED_BY_RESET))

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _credentials(self, lookup: str, kind: str) -> tuple[Credential, ...]:
        rows = await self._backend.find_accounts("credentials", "lookup", lookup)
        return tuple(row for row in cast("Sequence[Credential]", rows) if row.kind == kind)

    async def _users(self, email: str) -> tuple[User, ...]:
        rows = await self._backend.find_accounts("users", "email", fold(email))
        return tuple(user for user in cast("Sequence[User]", rows) if user.active)

    async def _password_of(self, user: User) -> Credential | None:
        found = await self._credentials(password_lookup(user.id), "password")
        return next((credential for credential in found if credential.tenant_id == user.tenant_id), None)

    async def _active_user(self, credential: Credential) -> User | None:
        answer = await self._backend.handle(
            Request("get", "users", _system(credential.tenant_id), ids=(credential.user_id,))
        )
        user = cast("User", answer.rows[0]) if answer.rows else None
        return user if user is not None and user.active else None

    async def _matches(self, credential: Credential | None, password: str) -> bool:
        """Takes as long where there is no credential."""
        if self._nobody is None:
            self._nobody = await asyncio.to_thread(hash_password, secrets.token_urlsafe(16))
        secret = credential.secret if credential is not None else self._nobody
        return await asyncio.to_thread(_verify, secret, password) and credential is not None

    async def _session(self, user: User, family: str) -> Session:
        token = secrets.token_urlsafe(32)
        now = self._clock()
        await self._create(user, "refresh", token, family, now + timedelta(seconds=self._refresh_ttl))
        identity = Identity(user.id, user.tenant_id, user.role, user.email)
        access = self._issuer.mint(identity, self._ttl)
        return Session(identity, access, token, now + timedelta(seconds=self._ttl))

    async def _send(self, user: User, purpose: Purpose, secret: str = "") -> None:
        token = secrets.token_urlsafe(32)
        expires = self._clock() + timedelta(seconds=LINK_TTL)
        kind = "reset" if purpose == "reset" else "magic_link"
        await self._create(user, kind, token, secret, expires)
        try:
            await self._post().send(Message(user.email, purpose, token, expires))
        except InterlockError as error:
            # Raised, it would tell the caller that the address has an account.
            _log.error("a message was not sent", purpose=purpose, user=user.id, error=error.code)

    def _post(self) -> Messenger:
        """Asked for before an address is looked at, so that its answer tells nothing of any address."""
        if self._messenger is None:
            raise Unavailable("no messenger is configured, so no link can be sent")
        return self._messenger

    async def _redeemed(self, token: str, kind: str) -> tuple[Credential, User]:
        """The credential, now used up, and its user."""
        (credential,) = await self._credentials(_digest(token), kind) or (None,)
        user = await self._active_user(credential) if credential is not None else None
        if credential is None or user is None or self._expired(credential) or not await self._take(credential):
            raise Unauthenticated("the link is not, or no longer, good; ask for a new one")
        return credential, user

    def _expired(self, credential: Credential) -> bool:
        return credential.expires_at is not None and credential.expires_at <= self._clock()

    async def _take(self, credential: Credential, **patch: Any) -> bool:
        """Use the credential up: patch it, or else delete it. False where somebody else was first."""
        outcome = await self._write(
            credential.tenant_id,
            "update" if patch else "delete",
            "credentials",
            ids=(credential.id,),
            patch=patch or None,
            expected_version=credential.version,
        )
        if isinstance(outcome.error, (Conflict, NotFound)):
            return False
        if outcome.error is not None:
            raise outcome.error
        return True

    async def _create(self, user: User, kind: Any, token: str, secret: str, expires: datetime | None) -> None:
        lookup = password_lookup(user.id) if kind == "password" else _digest(token)
        row = Credential(id=new_id(), user_id=user.id, kind=kind, lookup=lookup, secret=secret, expires_at=expires)
        outcome = await self._write(user.tenant_id, "create", "credentials", rows=(row,))
        if outcome.error is not None:
            raise outcome.error

    async def _set_password(self, user: User, secret: str) -> None:
        held = await self._password_of(user)
        if held is None:
            try:
                await self._create(user, "password", "", secret, None)
            except Duplicate:
                held = await self._password_of(user)
        if held is not None:
            await self._write(user.tenant_id, "update", "credentials", ids=(held.id,), patch={"secret": secret})

    async def _end_family(self, credential: Credential) -> None:
        family = credential.secret.removesuffix(_USED)
        await self._end(credential.tenant_id, Condition("secret", "in", (family, family + _USED)))

    async def _end(self, tenant_id: str, *conditions: Condition) -> None:
        query = Query(where=Group("and", conditions), limit=1000)
        answer = await self._backend.handle(Request("find", "credentials", _system(tenant_id), query=query))
        if answer.rows:
            await self._write(tenant_id, "delete", "credentials", ids=tuple(row.id for row in answer.rows))

    async def _write(
        self, tenant_id: str, verb: Any, resource: str, *, patch: dict[str, Any] | None = None, **parts: Any
    ) -> Outcome:
        frozen = MappingProxyType(patch) if patch is not None else None
        request = Request(verb, resource, _system(tenant_id), patch=frozen, operation_id=new_id(), **parts)
        return (await self._backend.handle(request)).outcomes[0]


def _system(tenant_id: str) -> Identity:
    return Identity("system", tenant_id, "system")


def _verify(secret: str, password: str) -> bool:
    try:
        return _hasher.verify(secret, password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
