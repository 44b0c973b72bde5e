"""PostgREST as seen from a later day: what it must not see of it, a token's `iat`, is taken out on the way to it.

libfaketime does not reach PostgREST, so a token of a day to come is refused there as made in the future. That it expires even later does no harm.
"""

from __future__ import annotations

import asyncio
import re
import threading
from functools import cache, lru_cache
from typing import Final

import jwt

from interlock.devstack.parts import Parts
from interlock.ports import free_port

__all__ = ["install"]

_BEARER: Final = re.compile(rb"(?im)^(authorization: *bearer +)([^\r\n]+)")
_LENGTH: Final = re.compile(rb"(?im)^content-length: *(\d+)")
_CHUNKED: Final = re.compile(rb"(?im)^transfer-encoding: *chunked")
_HEAD: Final = 1 << 20


def install() -> None:
    """Let the front doors of all stacks that this process starts reach their PostgREST by such a way."""
    direct = Parts._gateway

    def led(self: Parts) -> dict[str, str]:
        way = _way(self.ports["postgrest"], self.secrets.jwt_secret)
        return {**direct(self), "STACK_REST_PORT": str(way)}

    Parts._gateway = led  # type: ignore[method-assign]  # the way is longer


@cache
def _way(target: int, secret: str) -> int:
    """The port of a server that passes everything on to the target."""
    port, ready = free_port(), threading.Event()

    @lru_cache(maxsize=10_000)
    def timeless(token: bytes) -> bytes:
        try:
            claims = jwt.decode(token, secret, ["HS256"], options={"verify_aud": False, "verify_exp": False})
        except jwt.PyJWTError:
            return token
        claims.pop("iat", None)
        return jwt.encode(claims, secret, "HS256").encode()

    async def requests(reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            upstream.write(_BEARER.sub(lambda found: found[1] + timeless(found[2]), head))
            if found := _LENGTH.search(head):
                left = int(found[1])
                while left:
                    part = await reader.read(min(left, 1 << 16))
                    if not part:
                        return
                    left -= len(part)
                    upstream.write(part)
                    await upstream.drain()
            elif _CHUNKED.search(head):
                size = -1
                while size:
                    line = await reader.readuntil(b"\r\n")
                    size = int(line.split(b";")[0], 16)
                    upstream.write(line + await reader.readexactly(size + 2))
                    await upstream.drain()

    async def answers(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while part := await reader.read(1 << 16):
            client.write(part)
            await client.drain()

    async def serve(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            back, upstream = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            client.transport.abort()
            return
        both = [asyncio.ensure_future(requests(reader, upstream)), asyncio.ensure_future(answers(back, client))]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for each in both:
            each.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        upstream.close()
        client.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", port, limit=_HEAD)
        ready.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    ready.wait()
    return port
