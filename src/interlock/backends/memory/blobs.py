"""The bytes of files, by tenant and file id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256

from interlock.abilities import BlobInfo
from interlock.errors import NotFound

__all__ = ["Blobs"]

CHUNK = 64 * 1024


class Blobs:
    """Keeps blobs whole, and gives them in chunks of 64 KiB."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], bytes] = {}

    async def write(self, tenant_id: str, file_id: str, chunks: AsyncIterator[bytes]) -> BlobInfo:
        """Collect the chunks; what was there is replaced when the last has come."""
        digest, parts = sha256(), bytearray()
        async for chunk in chunks:
            digest.update(chunk)
            parts += chunk
        self._kept[tenant_id, file_id] = bytes(parts)
        return BlobInfo(len(parts), digest.hexdigest())

    async def read(self, tenant_id: str, file_id: str, start: int, end: int | None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to but without `end`."""
        blob = self._kept.get((tenant_id, file_id))
        if blob is None:
            raise NotFound("files", file_id)
        stop = len(blob) if end is None else min(end, len(blob))
        for at in range(max(start, 0), stop, CHUNK):
            yield blob[at : min(at + CHUNK, stop)]

    def delete(self, tenant_id: str, file_id: str) -> None:
        """Forget a blob, if there is one."""
        self._kept.pop((tenant_id, file_id), None)

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()
