"""Blobs: streamed both ways, cut to ranges, hashed, replaced whole, and of one tenant."""

from __future__ import annotations

import asyncio
import hashlib
import urllib.error
import urllib.request
from collections.abc import AsyncIterator

import pytest

from interlock.abilities import SignsUrls, StoresFiles
from interlock.entities import FILES
from interlock.errors import InterlockError, NotFound
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller, streamed

__all__ = ["FilesConformance", "SignedUrlsConformance"]

MEGABYTE = 1024 * 1024


def pattern(size: int) -> bytes:
    """Bytes whose every part differs from its neighbours."""
    block = b"".join(n.to_bytes(4, "big") for n in range(16_384))
    return (block * (size // len(block) + 1))[:size]


async def new_file(caller: Caller, content: bytes = b"") -> str:
    """The id of a file record, with bytes if there are any."""
    file = await caller.add(FILES, name="test.bin")
    if content:
        await caller.subject.ability(StoresFiles).write_blob(caller.identity, file.id, streamed(content))
    return file.id


async def content(caller: Caller, file_id: str, start: int = 0, end: int | None = None) -> bytes:
    """The bytes that are read."""
    parts = caller.subject.ability(StoresFiles).read_blob(caller.identity, file_id, start, end)
    return b"".join([chunk async for chunk in parts])


class FilesConformance(Suite):
    """For backends with the ability `StoresFiles`."""

    @pytest.mark.parametrize("size", [1, 10, 65_536, 65_537, 3 * MEGABYTE + 17])
    async def test_bytes_come_back(self, caller: Caller, size: int) -> None:
        data = pattern(size)
        file_id = await new_file(caller)
        chunks = [data[n : n + 50_000] for n in range(0, size, 50_000)]
        info = await caller.subject.ability(StoresFiles).write_blob(caller.identity, file_id, streamed(*chunks))
        assert (info.size, info.sha256) == (size, hashlib.sha256(data).hexdigest())
        assert await content(caller, file_id) == data

    async def test_an_empty_file_is_a_file(self, caller: Caller) -> None:
        file_id = await new_file(caller)
        info = await caller.subject.ability(StoresFiles).write_blob(caller.identity, file_id, streamed())
        assert (info.size, info.sha256) == (0, hashlib.sha256().hexdigest())
        assert await content(caller, file_id) == b""

    async def test_empty_chunks_are_nothing(self, caller: Caller) -> None:
        file_id = await new_file(caller)
        info = await caller.subject.ability(StoresFiles).write_blob(
            caller.identity, file_id, streamed(b"", b"ab", b"", b"c", b"")
        )
        assert info.size == 3
        assert await content(caller, file_id) == b"abc"

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (0, 1),
            (0, 100),
            (99, 100),
            (65_535, 65_537),
            (65_536, 131_072),
            (1, None),
            (299_999, None),
            (299_990, 400_000),
        ],
    )
    async def test_a_range_is_cut_out(self, caller: Caller, start: int, end: int | None) -> None:
        data = pattern(300_000)
        file_id = await new_file(caller, data)
        assert await content(caller, file_id, start, end) == data[start:end]

    @pytest.mark.parametrize(("start", "end"), [(5, 5), (10, None), (10, 20), (7, 3)])
    async def test_a_range_without_bytes_is_empty(self, caller: Caller, start: int, end: int | None) -> None:
        file_id = await new_file(caller, b"0123456789")
        assert await content(caller, file_id, start, end) == b""

    async def test_a_second_write_replaces_the_first(self, caller: Caller) -> None:
        file_id = await new_file(caller, pattern(200_000))
        info = await caller.subject.ability(StoresFiles).write_blob(caller.identity, file_id, streamed(b"short"))
        assert info.size == 5
        assert await content(caller, file_id) == b"short"

    async def test_a_write_that_breaks_off_leaves_what_was_there(self, caller: Caller) -> None:
        file_id = await new_file(caller, b"the old bytes")

        async def broken() -> AsyncIterator[bytes]:
            yield pattern(200_000)
            raise ConnectionResetError("the sender is gone")

        with pytest.raises((ConnectionResetError, InterlockError)):
            await caller.subject.ability(StoresFiles).write_blob(caller.identity, file_id, broken())
        assert await content(caller, file_id) == b"the old bytes"

    async def test_what_is_not_there_is_not_found(self, caller: Caller) -> None:
        with pytest.raises(NotFound):
            await content(caller, new_id())
        with pytest.raises(NotFound):
            await content(caller, await new_file(caller))

    async def test_deleted_bytes_are_not_found(self, caller: Caller) -> None:
        file_id = new_id()
        store = caller.subject.ability(StoresFiles)
        await store.write_blob(caller.identity, file_id, streamed(b"bytes"))
        await store.delete_blob(caller.identity, file_id)
        with pytest.raises(NotFound):
            await content(caller, file_id)
        await store.delete_blob(caller.identity, file_id)
        await store.delete_blob(caller.identity, new_id())

    async def test_bytes_are_of_one_tenant(self, caller: Caller) -> None:
        other = caller.elsewhere()
        file_id = await new_file(other, b"theirs")
        store = caller.subject.ability(StoresFiles)
        with pytest.raises(NotFound):
            await content(caller, file_id)
        await store.delete_blob(caller.identity, file_id)
        mine = await caller.add(FILES, id=file_id, name="mine")
        with pytest.raises(NotFound):
            await content(caller, mine.id)
        await store.write_blob(caller.identity, file_id, streamed(b"mine"))
        assert await content(other, file_id) == b"theirs"
        assert await content(caller, file_id) == b"mine"

    async def test_reading_may_stop_early(self, caller: Caller) -> None:
        data = pattern(2 * MEGABYTE)
        file_id = await new_file(caller, data)
        parts = caller.subject.ability(StoresFiles).read_blob(caller.identity, file_id)
        first = await anext(parts)
        aclose = getattr(parts, "aclose", None)
        if aclose is not None:
            await aclose()
        assert data.startswith(first)
        assert await content(caller, file_id, 0, 10) == data[:10]

    async def test_files_are_written_and_read_at_the_same_time(self, caller: Caller) -> None:
        ids = [await new_file(caller) for _ in range(4)]
        store = caller.subject.ability(StoresFiles)
        bodies = [bytes([n]) * 150_000 for n in range(4)]
        await asyncio.gather(
            *(store.write_blob(caller.identity, i, streamed(body)) for i, body in zip(ids, bodies, strict=True))
        )
        assert await asyncio.gather(*(content(caller, file_id) for file_id in ids)) == bodies


def fetch(url: str) -> tuple[int, bytes]:
    """Status and body, without any token."""
    request = urllib.request.Request(url)  # noqa: S310 - the URL is the server's under test
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


class SignedUrlsConformance(Suite):
    """For backends with the ability `SignsUrls`."""

    async def test_a_signed_url_serves_the_file_without_a_token(self, caller: Caller) -> None:
        data = pattern(100_000)
        file_id = await new_file(caller, data)
        url = await caller.subject.ability(SignsUrls).signed_url(caller.identity, file_id, 60)
        assert await asyncio.to_thread(fetch, url) == (200, data)

    async def test_a_url_that_was_changed_serves_nothing(self, caller: Caller) -> None:
        file_id = await new_file(caller, b"secret")
        other_id = await new_file(caller, b"another")
        url = await caller.subject.ability(SignsUrls).signed_url(caller.identity, file_id, 60)
        for changed in (url.replace(file_id, other_id), url.partition("?")[0], url[:-3]):
            status, body = await asyncio.to_thread(fetch, changed)
            assert status in (400, 401, 403, 404)
            assert body == b""

    async def test_another_tenants_file_is_not_signed_for(self, caller: Caller) -> None:
        file_id = await new_file(caller.elsewhere(), b"theirs")
        with pytest.raises(NotFound):
            await caller.subject.ability(SignsUrls).signed_url(caller.identity, file_id, 60)
