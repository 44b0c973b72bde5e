"""Files at an Interlock gateway: bytes streamed both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urljoin

import msgspec

from interlock.abilities import BlobInfo
from interlock.backends.rest.caller import Caller
from interlock.backends.rest.faults import Concern
from interlock.backends.rest.native import decoded
from interlock.contract import Identity
from interlock.errors import NotFound
from interlock.http import Reply
from interlock.identifiers import new_id

__all__ = ["RemoteFiles"]


class _Url(msgspec.Struct):
    url: str


_NO_SUCH_RANGE = 416
_info = msgspec.json.Decoder(BlobInfo)
_url = msgspec.json.Decoder(_Url)


class RemoteFiles:
    """Writes, reads and signs blobs at a gateway."""

    def __init__(self, caller: Caller, name: str) -> None:
        self._caller = caller
        self._name = name

    def _content(self, file_id: str) -> str:
        return self._caller.url(f"files/{self._caller.segment(file_id)}/content")

    def _concern(self, file_id: str, *, write: bool = False) -> Concern:
        return Concern(self._name, "files", id=file_id, operation_id=new_id() if write else None)

    async def write_blob(self, identity: Identity, file_id: str, chunks: AsyncIterator[bytes]) -> BlobInfo:
        """Send the chunks; the gateway answers what it stored."""
        concern = self._concern(file_id, write=True)
        headers = {"Content-Type": "application/octet-stream"}
        async with self._caller.stream(
            "PUT", self._content(file_id), concern, identity, body=chunks, headers=headers
        ) as reply:
            body = b"".join([chunk async for chunk in reply.chunks])
        return decoded(_info.decode, Reply(reply.status, body, reply.header), concern)

    async def read_blob(self, identity: Identity, file_id: str, start: int, end: int | None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to but without `end`."""
        if end is not None and end <= start:
            return
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        concern = self._concern(file_id)
        url = self._content(file_id)
        async with self._caller.stream("GET", url, concern, identity, headers=headers, also=_NO_SUCH_RANGE) as reply:
            if reply.status == _NO_SUCH_RANGE:
                return
            async for chunk in reply.chunks:
                yield chunk

    async def delete_blob(self, identity: Identity, file_id: str) -> None:
        """Nothing happens where there are no bytes."""
        concern = self._concern(file_id, write=True)
        try:
            await self._caller.send("DELETE", self._content(file_id), concern, identity=identity)
        except NotFound:
            return

    async def signed_url(self, identity: Identity, file_id: str, expires: int) -> str:
        """An absolute URL."""
        concern = self._concern(file_id)
        url = self._caller.url(f"files/{self._caller.segment(file_id)}/signed-url")
        body = msgspec.json.encode({"expires": expires})
        reply = await self._caller.send("POST", url, concern, identity=identity, body=body)
        return urljoin(url, decoded(_url.decode, reply, concern).url)
