"""The one HTTP client: a small Protocol with two engines behind it, pyreqwest and aiohttp.

Everything that speaks HTTP goes through `Engine`; nothing above it knows which library carries the bytes.
"""

from __future__ import annotations

from interlock.errors import Misconfigured
from interlock.http.engine import Call, Engine, EngineName, Reply, StreamedReply

__all__ = ["Call", "Engine", "EngineName", "Reply", "StreamedReply", "open_engine"]


def open_engine(name: EngineName = "pyreqwest", *, connect_timeout: float = 5.0) -> Engine:
    """A new engine with connections of its own. Must be made, used and closed within one event loop.

    Raises `Misconfigured` where the library is not installed.
    """
    if name == "aiohttp":
        try:
            from interlock.http.aiohttp_engine import AiohttpEngine
        except ImportError as error:
            raise Misconfigured(
                ["INTERLOCK_HTTP_ENGINE: aiohttp is not installed; install interlock[aiohttp] or choose pyreqwest"]
            ) from error
        return AiohttpEngine(connect_timeout)
    from interlock.http.pyreqwest_engine import PyreqwestEngine

    return PyreqwestEngine(connect_timeout)
