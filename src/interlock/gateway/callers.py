"""Who calls: the caller behind a bearer token, known again at the next call."""

from __future__ import annotations

from typing import Final

from interlock.app import App
from interlock.contract import Identity
from interlock.errors import Unauthenticated
from interlock.gateway.limits import Buckets
from interlock.gateway.memory import Memory
from interlock.services import Services

__all__ = ["Caller", "Callers"]

LONGEST_TOKEN: Final = 8_192
MOST: Final = 5_000


class Caller:
    """One who has shown a good token. The services are for reading: nothing of a read stays in them."""

    __slots__ = ("bucket", "identity", "services", "token")

    def __init__(self, token: str, identity: Identity, services: Services) -> None:
        self.token = token
        self.identity = identity
        self.bucket = f"{identity.tenant_id}/{identity.user_id}"
        self.services = services


class Callers:
    """Tells callers by their `Authorization`. What it spares is taking the header apart: each call's token goes to the verifier, which knows whether it still holds."""

    def __init__(self, app: App, calls: Buckets) -> None:
        self._app = app
        self._calls = calls
        self._seen: Memory[bytes, Caller] = Memory(MOST)

    def of(self, authorization: bytes | None) -> Caller:
        """The caller. Raises `Unauthenticated`, and `RateLimited` for one who calls too often."""
        seen = None if authorization is None else self._seen.get(authorization)
        if seen is None:
            seen = self._new(authorization)
        else:
            try:
                identity = self._app.verifier.verify(seen.token)
            except Unauthenticated:
                self._seen.drop(authorization)  # type: ignore[arg-type]  # it was found under it
                raise
            if identity is not seen.identity:
                seen = self._new(authorization)
        if self._calls.rate:
            self._calls.take(seen.bucket)
        return seen

    def _new(self, authorization: bytes | None) -> Caller:
        if authorization is None:
            raise Unauthenticated("no token was sent; log in and send it as Authorization: Bearer …")
        scheme, _, sent = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not sent or len(sent) > LONGEST_TOKEN or not sent.isascii():
            raise Unauthenticated("Authorization is not a bearer token; log in and send Bearer …")
        token = sent.strip().decode()
        identity = self._app.verifier.verify(token)
        caller = Caller(token, identity, self._app.services(identity))
        self._seen.put(authorization, caller)
        return caller
