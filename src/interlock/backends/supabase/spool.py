"""Bytes held until all of them are there: in memory while they are few, then in a file that has no name."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Final

__all__ = ["Spool"]

FEW: Final = 1024 * 1024
"""Bytes that are held in memory, and that are written, hashed and read at once."""


class Spool:
    """Takes chunks, counts and hashes them, and gives them again as often as asked. Close it."""

    def __init__(self) -> None:
        self.size = 0
        self._digest = hashlib.sha256()
        self._held = bytearray()
        self._file: IO[bytes] | None = None

    @property
    def sha256(self) -> str:
        """Of all that was taken, in lower-case hex."""
        return self._digest.hexdigest()

    async def take(self, chunks: AsyncIterator[bytes]) -> None:
        """All of the chunks."""
        async for chunk in chunks:
            self.size += len(chunk)
            self._held += chunk
            if len(self._held) > FEW:
                await asyncio.to_thread(self._put_away)
        if self._file is None:
            self._digest.update(self._held)
        else:
            await asyncio.to_thread(self._put_away)

    def body(self) -> bytes | AsyncIterator[bytes]:
        """What was taken: at once where it is few bytes."""
        return bytes(self._held) if self._file is None else self._again(self._file)

    def close(self) -> None:
        """Forget all of it."""
        self._held.clear()
        if self._file is not None:
            self._file.close()

    def _put_away(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="interlock-")  # noqa: SIM115 - `close` closes it
        self._digest.update(self._held)
        self._file.write(self._held)
        self._held.clear()

    async def _again(self, file: IO[bytes]) -> AsyncIterator[bytes]:
        await asyncio.to_thread(file.seek, 0)
        while chunk := await asyncio.to_thread(file.read, FEW // 4):
            yield chunk
