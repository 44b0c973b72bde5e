"""The bytes of files in the database: whole, in order, and never half."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from interlock.backends.sql import SqlBackend
from interlock.contract import Identity
from interlock.errors import NotFound
from interlock.identifiers import new_id

pytestmark = pytest.mark.anyio

Open = Callable[[str], Awaitable[SqlBackend]]


async def pieces(data: bytes, size: int, *, breaks: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
    if breaks:
        raise ConnectionResetError("the sender went away")


async def read(backend: SqlBackend, me: Identity, file_id: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([part async for part in backend.read_blob(me, file_id, start, end)])


async def chunks_in(url: str) -> int:
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            return int((await connection.execute(text("select count(*) from interlock_chunks"))).scalar_one())
    finally:
        await engine.dispose()


@pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 262_145, 3_000_000])
async def test_every_range_of_a_blob(url: str, opened: Open, me: Identity, size: int) -> None:
    backend = await opened(url)
    data = hashlib.shake_256(str(size).encode()).digest(size)
    file_id = new_id()
    info = await backend.write_blob(me, file_id, pieces(data, 70_001))
    assert (info.size, info.sha256) == (size, hashlib.sha256(data).hexdigest())
    for start, end in (
        (0, None),
        (0, 0),
        (0, 1),
        (size // 2, None),
        (size // 3, size // 2),
        (size, None),
        (0, size + 5),
        (262_144, 262_145),
    ):
        assert await read(backend, me, file_id, start, end) == data[start:end]


async def test_an_upload_that_breaks_leaves_the_old_bytes_and_no_others(url: str, opened: Open, me: Identity) -> None:
    backend = await opened(url)
    file_id = new_id()
    await backend.write_blob(me, file_id, pieces(b"old", 3))
    with pytest.raises(ConnectionResetError):
        await backend.write_blob(me, file_id, pieces(bytes(600_000), 100_000, breaks=True))
    assert await read(backend, me, file_id) == b"old"
    assert await chunks_in(url) == 1


async def test_replacing_and_deleting_keep_nothing(url: str, opened: Open, me: Identity) -> None:
    backend = await opened(url)
    file_id = new_id()
    await backend.write_blob(me, file_id, pieces(bytes(600_000), 100_000))
    await backend.write_blob(me, file_id, pieces(b"new", 2))
    assert await read(backend, me, file_id) == b"new"
    assert await chunks_in(url) == 1
    await backend.delete_blob(me, file_id)
    await backend.delete_blob(me, file_id)
    assert await chunks_in(url) == 0
    with pytest.raises(NotFound):
        await read(backend, me, file_id)
