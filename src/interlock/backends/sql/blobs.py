"""The bytes of files, in rows of 256 KiB."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from sqlalchemy import Integer, bindparam, delete, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from interlock.abilities import BlobInfo
from interlock.backends.sql.connections import Database
from interlock.backends.sql.failures import mapped
from interlock.backends.sql.statements import Statement, compiled
from interlock.backends.sql.tables import Schema
from interlock.contract import Identity
from interlock.errors import InterlockError, NotFound, Unavailable
from interlock.identifiers import new_id

__all__ = ["Blobs"]

_CHUNK: Final = 256 * 1024
_AT_ONCE: Final = 4


class Blobs:
    """Stores, reads and forgets blobs. What is under way lies under its upload's id, and is the file's from its last byte on."""

    def __init__(self, database: Database, schema: Schema) -> None:
        self._database = database
        dialect, b, c = database.dialect, schema.blobs, schema.chunks
        key = (b.c.tenant_id == bindparam("tenant_id"), b.c.file_id == bindparam("file_id"))
        upload = c.c.upload_id == bindparam("upload_id")
        new = upsert(b)
        replaced = {name: new.excluded[name] for name in ("upload_id", "size", "sha256")}
        first, last = bindparam("first", type_=Integer()), bindparam("last", type_=Integer())
        self._known = compiled(select(b.c.upload_id, b.c.size).where(*key), dialect)
        self._name = compiled(
            new.on_conflict_do_update(index_elements=[b.c.tenant_id, b.c.file_id], set_=replaced), dialect
        )
        self._forget = compiled(delete(b).where(*key), dialect)
        self._add = compiled(insert(c), dialect)
        self._drop = compiled(delete(c).where(upload), dialect)
        self._read = compiled(
            select(c.c.bytes).where(upload, c.c.position.between(first, last)).order_by(c.c.position), dialect
        )

    async def write(self, identity: Identity, file_id: str, chunks: AsyncIterator[bytes]) -> BlobInfo:
        """Store the chunks; the file has its old bytes until all have arrived."""
        upload = new_id()
        try:
            info = await self._store(upload, chunks)
            await self._replace({"tenant_id": identity.tenant_id, "file_id": file_id}, upload, info)
        except BaseException:
            await asyncio.shield(self._abandon(upload))
            raise
        return info

    async def _store(self, upload: str, chunks: AsyncIterator[bytes]) -> BlobInfo:
        digest, size, position = hashlib.sha256(), 0, 0
        held = bytearray()
        async for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            held += chunk
            while len(held) >= _CHUNK:
                await self._store_one(upload, position, bytes(held[:_CHUNK]))
                del held[:_CHUNK]
                position += 1
        if held:
            await self._store_one(upload, position, bytes(held))
        return BlobInfo(size, digest.hexdigest())

    async def _store_one(self, upload: str, position: int, part: bytes) -> None:
        await self._write([(self._add, {"upload_id": upload, "position": position, "bytes": part})])

    async def _replace(self, key: Mapping[str, str], upload: str, info: BlobInfo) -> None:
        old = await self._find(key)
        named = {**key, "upload_id": upload, "size": info.size, "sha256": info.sha256}
        await self._write([(self._name, named), *([(self._drop, {"upload_id": old[0]})] if old else [])])

    async def _abandon(self, upload: str) -> None:
        try:
            await self._write([(self._drop, {"upload_id": upload})])
        except InterlockError:
            return  # The error that led here is the one to tell; chunks that nobody names are dead weight only.

    async def _write(self, statements: list[tuple[Statement, Mapping[str, Any]]]) -> None:
        try:
            async with self._database.writing() as session:
                for statement, given in statements:
                    await session.execute(statement.sql, statement.values(given))
        except InterlockError:
            raise
        except Exception as error:
            raise mapped(error, self._database.name) from error

    async def _find(self, key: Mapping[str, str]) -> tuple[str, int] | None:
        found = await self._database.read(self._known.sql, self._known.values(key))
        return (found[0][0], found[0][1]) if found else None

    async def read(self, identity: Identity, file_id: str, start: int, end: int | None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to but without `end`, a few rows at a time."""
        blob = await self._find({"tenant_id": identity.tenant_id, "file_id": file_id})
        if blob is None:
            raise NotFound("files", file_id)
        upload, size = blob
        at, end = max(start, 0), size if end is None else min(end, size)
        while at < end:
            first = at // _CHUNK
            last = min(first + _AT_ONCE, (end - 1) // _CHUNK + 1) - 1
            given = {"upload_id": upload, "first": first, "last": last}
            found = await self._database.read(self._read.sql, self._read.values(given))
            if len(found) != last - first + 1:
                raise Unavailable(f"{self._database.name}: the file was replaced while it was read; read it again")
            for position, (part,) in enumerate(found, first):
                base = position * _CHUNK
                yield bytes(part[at - base : end - base])
                at = base + len(part)

    async def delete(self, identity: Identity, file_id: str) -> None:
        """Forget the bytes; nothing happens where there are none."""
        key = {"tenant_id": identity.tenant_id, "file_id": file_id}
        if blob := await self._find(key):
            await self._write([(self._forget, key), (self._drop, {"upload_id": blob[0]})])
