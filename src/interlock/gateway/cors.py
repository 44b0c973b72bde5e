"""Cross-origin calls: which pages may call, and what they may read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from interlock.gateway.calls import Scope, header_of
from interlock.gateway.replies import Headers, Reply

__all__ = ["Cors"]

_EXPOSED: Final = (
    b"access-control-expose-headers",
    b"Cache-Status, Content-Disposition, Content-Range, ETag, Location, Retry-After, X-Next-Cursor, X-Request-Id, X-Total-Count",
)
_VARY: Final = (b"vary", b"Origin")
_ANYBODY: Final[Headers] = [(b"access-control-allow-origin", b"*"), _EXPOSED]
_NOBODY: Final[Headers] = [_VARY]
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"Accept, Authorization, Content-Digest, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, "
        b"Last-Event-ID, Range",
    ),
    (b"access-control-max-age", b"600"),
)


class Cors:
    """Tokens travel in a header that no browser sends by itself, so any origin may be let in; credentials never are."""

    def __init__(self, origins: Iterable[str]) -> None:
        allowed = frozenset(origin.encode() for origin in origins)
        self._any = b"*" in allowed
        self._allowed = allowed

    def headers(self, scope: Scope) -> Headers:
        """What says that the calling page may read the answer, if it may. The caller must not change the list."""
        if self._any:
            return _ANYBODY
        origin = header_of(scope, b"origin")
        if origin in self._allowed:
            return [_VARY, (b"access-control-allow-origin", origin), _EXPOSED]
        return _NOBODY

    def preflight(self, scope: Scope) -> Reply:
        """The answer to a browser that asks first."""
        origin = header_of(scope, b"origin")
        return Reply(204, list(_PREFLIGHT) if self._any or origin in self._allowed else [])
