"""Files in Supabase Storage: the private bucket `files`, each file at <tenant id>/<file id>.

The official client signs, removes and looks; it reads whole bodies into memory, so bytes go over the one HTTP client to the documented
endpoints. An upload waits until all its bytes are here: only of a known length does Storage hold it to the bucket's limit, and a sender
that breaks off has sent nothing. Storage itself replaces an object in one transaction, after the last byte.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final, TypeVar
from urllib.parse import quote

import httpx
from storage3 import AsyncStorageClient
from storage3._async.file_api import AsyncBucketProxy

from interlock.abilities import BlobInfo, TokenSource
from interlock.backends.supabase.spool import Spool
from interlock.backends.supabase.storage_errors import About, mapped, refusal_in, storage_error
from interlock.contract import Identity
from interlock.errors import Forbidden, Invalid, NotFound, Unauthenticated, Unavailable
from interlock.http import Call, Engine, StreamedReply
from interlock.identifiers import new_id

__all__ = ["SupabaseFiles"]

A = TypeVar("A")

_KEY: Final = re.compile(r"[A-Za-z0-9!\-.*'() &$@=;:+,?_]+", re.ASCII)
"""What Storage takes in a part of an object's name."""

_SLOWEST: Final = 64 * 1024
"""Bytes per second: an upload that is slower is given up."""

_ERROR_BODY: Final = 64 * 1024


class SupabaseFiles:
    """`StoresFiles` and `SignsUrls` over a project's storage. `timeout` is in seconds: for an answer to begin, and between two chunks."""

    def __init__(
        self,
        url: str,
        anon_key: str,
        *,
        engine: Engine,
        tokens: TokenSource,
        timeout: float = 30.0,
        bucket: str = "files",
    ) -> None:
        self._storage = f"{url.rstrip('/')}/storage/v1/"
        self._anon_key = anon_key
        self._engine = engine
        self._tokens = tokens
        self._timeout = timeout
        self._bucket = bucket
        self._http = httpx.AsyncClient(timeout=timeout)

    def __repr__(self) -> str:
        return f"SupabaseFiles({self._storage!r}, bucket={self._bucket!r})"

    async def aclose(self) -> None:
        """Release the official client's connections; the engine is its owner's. Closing twice does nothing more."""
        await self._http.aclose()

    async def write_blob(self, identity: Identity, file_id: str, chunks: AsyncIterator[bytes]) -> BlobInfo:
        """See `StoresFiles.write_blob`. Raises `Invalid` naming `size` where the bucket takes no file so large."""
        path = _path(identity, file_id)
        spool = Spool()
        try:
            await spool.take(chunks)
            about = About(self._bucket, file_id, new_id(), spool.size)
            await self._upload(identity, path, spool, about)
            return BlobInfo(spool.size, spool.sha256)
        finally:
            spool.close()

    async def _upload(self, identity: Identity, path: str, spool: Spool, about: About) -> None:
        for again in (False, True):
            headers = {
                **await self._headers(identity, refresh=again),
                "Content-Type": "application/octet-stream",
                "Content-Length": str(spool.size),
                "x-upsert": "true",
            }
            timeout = self._timeout + spool.size / _SLOWEST
            call = Call("POST", self._object(path), headers, spool.body(), timeout, about.operation_id)
            reply = await self._engine.send(call)
            if reply.status < 300:
                return
            error = storage_error(refusal_in(reply.status, reply.body, reply.header("retry-after")), about)
            if again or not isinstance(error, Unauthenticated):
                raise error

    async def read_blob(
        self, identity: Identity, file_id: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """See `StoresFiles.read_blob`."""
        if start < 0:
            raise Invalid({"start": f"is {start}; give 0 or more"})
        path = _path(identity, file_id)
        if end is not None and end <= start:
            if not await self._exists(identity, file_id, path):
                raise NotFound("files", file_id)
            return
        async with self._download(identity, file_id, path, start, end) as reply:
            if reply is None:
                return
            if reply.status == 206:
                chunks = _timely(reply.chunks, self._timeout)
            else:  # a range that was overlooked, by a cache on the way for one, is cut out here
                chunks = _cut(_timely(reply.chunks, self._timeout), start, end)
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk

    @asynccontextmanager
    async def _download(
        self, identity: Identity, file_id: str, path: str, start: int, end: int | None
    ) -> AsyncIterator[StreamedReply | None]:
        """The answer as it comes; None where there is a file, and no byte of it in the range."""
        about = About(self._bucket, file_id)
        for again in (False, True):
            headers = {**await self._headers(identity, refresh=again), "Accept": "*/*", "Accept-Encoding": "identity"}
            if start or end is not None:
                headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
            call = Call("GET", self._object(path, "authenticated/"), headers, timeout=None)
            async with self._begun(call) as reply:
                if reply.status in (200, 206):
                    yield reply
                    return
                refusal = refusal_in(reply.status, await _head(reply.chunks), reply.header("retry-after"))
                if refusal.no_range:
                    yield None
                    return
                error = storage_error(refusal, about)
                if again or not isinstance(error, Unauthenticated):
                    raise error

    @asynccontextmanager
    async def _begun(self, call: Call) -> AsyncIterator[StreamedReply]:
        """A streamed reply that has begun in time; how long the rest takes is for the chunks to say."""
        streaming = self._engine.stream(call)
        try:
            async with asyncio.timeout(self._timeout):
                reply = await streaming.__aenter__()
        except TimeoutError as error:
            raise Unavailable(f"Supabase's storage did not answer within {self._timeout:g} s") from error
        try:
            yield reply
        finally:
            await streaming.__aexit__(None, None, None)

    async def delete_blob(self, identity: Identity, file_id: str) -> None:
        """See `StoresFiles.delete_blob`. Raises `Forbidden` where the bytes are there and stay there."""
        path = _path(identity, file_id)

        async def remove(bucket: AsyncBucketProxy) -> bool:
            return bool(await bucket.remove([path]))

        about = About(self._bucket, file_id, new_id())
        # Policies hide from a deletion what the role may not delete, as if it were not there.
        if not await self._official(identity, about, remove) and await self._exists(identity, file_id, path):
            raise Forbidden("files: the role may not delete the bytes of a file")

    async def signed_url(self, identity: Identity, file_id: str, expires: int) -> str:
        """See `SignsUrls.signed_url`."""
        if expires < 1:
            raise Invalid({"expires": f"is {expires}; give 1 second or more"})
        path = _path(identity, file_id)

        async def sign(bucket: AsyncBucketProxy) -> str:
            return str((await bucket.create_signed_url(path, expires))["signedUrl"])

        return await self._official(identity, About(self._bucket, file_id), sign)

    async def _exists(self, identity: Identity, file_id: str, path: str) -> bool:
        async def look(bucket: AsyncBucketProxy) -> bool:
            await bucket.info(path)
            return True

        try:
            return await self._official(identity, About(self._bucket, file_id), look)
        except NotFound:
            return False

    async def _official(self, identity: Identity, about: About, act: Callable[[AsyncBucketProxy], Awaitable[A]]) -> A:
        """What the official client's bucket answers; once more with a fresh token where the token was refused."""
        try:
            with mapped(about):
                return await act(await self._proxy(identity, refresh=False))
        except Unauthenticated:
            with mapped(about):
                return await act(await self._proxy(identity, refresh=True))

    async def _proxy(self, identity: Identity, *, refresh: bool) -> AsyncBucketProxy:
        headers = await self._headers(identity, refresh=refresh)
        return AsyncStorageClient(self._storage, headers, http_client=self._http).from_(self._bucket)

    async def _headers(self, identity: Identity, *, refresh: bool) -> dict[str, str]:
        token = await self._tokens.token(identity, refresh=refresh)
        return {"apikey": self._anon_key, "Authorization": f"Bearer {token}"}

    def _object(self, path: str, access: str = "") -> str:
        return f"{self._storage}object/{access}{self._bucket}/{quote(path)}"


def _path(identity: Identity, file_id: str) -> str:
    """Where the bytes are. Nothing in a name can lead elsewhere."""
    if not identity.tenant_id:
        raise Unauthenticated("the caller has no tenant; log in first")
    for field, part in (("tenant_id", identity.tenant_id), ("id", file_id)):
        if not _KEY.fullmatch(part) or ".." in part or part == ".":
            raise Invalid(
                {field: "has a character that Supabase's storage takes in no name; use letters, digits and -"}
            )
    return f"{identity.tenant_id}/{file_id}"


async def _timely(chunks: AsyncIterator[bytes], timeout: float) -> AsyncGenerator[bytes, None]:
    """The chunks, each within `timeout` seconds of the one before."""
    while True:
        try:
            async with asyncio.timeout(timeout):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise Unavailable(f"Supabase's storage sent nothing for {timeout:g} s") from error
        if chunk is None:
            return
        yield chunk


async def _cut(chunks: AsyncIterator[bytes], start: int, end: int | None) -> AsyncGenerator[bytes, None]:
    """The bytes from `start` up to but without `end`."""
    at = 0
    async for chunk in chunks:
        part = chunk[max(start - at, 0) : None if end is None else max(end - at, 0)]
        at += len(chunk)
        if part:
            yield part
        if end is not None and at >= end:
            return


async def _head(chunks: AsyncIterator[bytes]) -> bytes:
    """The beginning of a body: enough for an error."""
    head = b""
    async for chunk in chunks:
        head += chunk
        if len(head) >= _ERROR_BODY:
            break
    return head
