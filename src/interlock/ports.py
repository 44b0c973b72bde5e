"""Ports of the loopback that are free."""

from __future__ import annotations

import random
import socket
from typing import Final

__all__ = ["free_port"]

_FIRST: Final = 20_000
_LAST: Final = 32_000
"""Below what systems give to connections that go out: such a port would soon be taken again by one of them."""
_TRIES: Final = 100


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing uses now. Drawn by chance, so that processes which look at the same time find different ones. Raises OSError where there is none."""
    for _ in range(_TRIES):
        try:
            return _bound(host, random.randrange(_FIRST, _LAST))  # noqa: S311 - no secret
        except OSError:
            continue
    return _bound(host, 0)


def _bound(host: str, port: int) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, port))
        return int(listener.getsockname()[1])
