"""Files: streamed both ways, with their hash checked both ways."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import msgspec

from interlock.abilities import BlobInfo, SignsUrls, StoresFiles
from interlock.entities.file import FILES, File
from interlock.errors import Duplicate, Forbidden, Invalid, NotFound, Unauthenticated, Unavailable, Unsupported
from interlock.identifiers import derived_id, is_id
from interlock.router import Route
from interlock.services.base import Context
from interlock.services.rules import RuledService
from interlock.validation import check_row

__all__ = ["MAX_FILE", "Download", "Files"]

MAX_FILE: Final = 5 * 2**30
"""The largest file, in bytes."""

MAX_EXPIRES: Final = 7 * 24 * 3600
"""The longest life of a signed URL, in seconds."""

_CONTENT_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+(; ?[a-z0-9-]+=[a-z0-9\"_.+-]+)*", re.IGNORECASE)
_INVISIBLE: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")


class Download:
    """A file on its way: its record, and its bytes, once, by `async for`.

    A whole file is hashed on the way; where it is not what was stored, `Unavailable` is raised before its last piece is given. Of a
    range only the length can be checked.
    """

    def __init__(self, file: File, start: int, end: int, chunks: AsyncIterator[bytes]) -> None:
        self.file = file
        self.start = start
        self.end = end
        self._chunks = chunks

    def __repr__(self) -> str:
        return f"Download({self.file.id!r}, {self.start}, {self.end})"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        digest, size, held = hashlib.sha256(), 0, b""
        async for chunk in self._chunks:
            if held:
                yield held
            held = chunk
            size += len(chunk)
            digest.update(chunk)
        whole = self.start == 0 and self.end == self.file.size
        if size != self.end - self.start or (whole and digest.hexdigest() != self.file.sha256):
            raise Unavailable(
                f"files: {self.file.id} is not what was stored; upload it again or restore it from a backup"
            )
        if held:
            yield held

    async def read(self) -> bytes:
        """All of it, in memory."""
        return b"".join([chunk async for chunk in self])


class Files(RuledService[File]):
    """Files. The name is a plain file name; size and hash are what was stored."""

    _ruled: ClassVar[frozenset[str]] = frozenset(FILES.writable)

    def __init__(self, context: Context) -> None:
        super().__init__(FILES, context)

    # -- actions --------------------------------------------------------------------------------------------------

    async def upload(
        self,
        name: str,
        chunks: AsyncIterable[bytes] | Iterable[bytes] | bytes,
        content_type: str = "application/octet-stream",
        owner: tuple[str, str] | None = None,
        *,
        sha256: str | None = None,
        operation_id: str | None = None,
    ) -> File:
        """Store a file, streamed; `owner` is the resource and id of the record that it belongs to.

        Raises `Invalid` for a bad name, a file beyond `MAX_FILE`, or bytes that are not those of `sha256`; `Unavailable` where the
        backend stored something else. Then nothing is left. The same `operation_id` again answers the file and reads no chunk.
        """
        identity = self._allowed("create")
        resource, record = owner or (None, None)
        values = {"name": name, "content_type": content_type, "owner_resource": resource, "owner_id": record}
        if operation_id is not None:
            made = derived_id(operation_id, FILES.resource)
            for file in await self.get_many((made,), deleted="with"):
                return _replayed(file, name, sha256)
            values["id"] = made
        row = check_row(FILES, values)
        (row,) = await self._check_create((row,))
        store = self.context.route("files").ability(StoresFiles)
        stored = await self._store(row.id, chunks, sha256)
        row = msgspec.structs.replace(row, size=stored.size, sha256=stored.sha256)
        try:
            return self._one(await self._write("create", identity, operation_id, rows=(row,)))
        except (Invalid, Unauthenticated, Forbidden, Duplicate, Unsupported):
            # Refused for certain. After any other error the record may be there, and must have its bytes.
            await store.delete_blob(identity, row.id)
            raise

    async def write_content(
        self, id: str, chunks: AsyncIterable[bytes] | Iterable[bytes] | bytes, *, sha256: str | None = None
    ) -> BlobInfo:
        """Store the bytes of a file whose record exists, or is about to be made under this id.

        The record that exists gets the new size and hash. Raises what `upload` raises.
        """
        identity = self._allowed("create")
        if not is_id(id):
            raise Invalid({"id": "is not a canonical UUIDv7"})
        stored = await self._store(id, chunks, sha256)
        for file in await self.get_many((id,)):
            if (file.size, file.sha256) != (stored.size, stored.sha256):
                patch = MappingProxyType({"size": stored.size, "sha256": stored.sha256})
                self._one(await self._write("update", identity, None, ids=(file.id,), patch=patch))
        return stored

    async def delete_content(self, id: str) -> None:
        """Forget the bytes of a file that has no record, such as one whose upload failed. Raises `Invalid` where it has one."""
        identity = self._allowed("create")
        if await self.get_many((id,), deleted="with"):
            raise Invalid({"id": "the file has a record; delete that, and its bytes stay for a restore"})
        await self.context.route("files").ability(StoresFiles).delete_blob(identity, id)

    async def download(self, id: str, start: int = 0, end: int | None = None) -> Download:
        """The bytes from `start` up to but without `end`, streamed. Raises `NotFound`; `Invalid` for a range outside the file."""
        identity = self._allowed("get")
        file = await self.get(id)
        stop = file.size if end is None else min(end, file.size)
        if not (0 <= start < stop or start == stop == file.size == 0):
            raise Invalid({"range": f"is {start} to {end}, and the file has {file.size} bytes"})
        route = self.context.route("files")
        chunks = route.ability(StoresFiles).read_blob(identity, id, start, stop)
        return Download(file, start, stop, _held(route, chunks))

    async def signed_url(self, id: str, expires: int = 3600) -> str:
        """A URL that serves the file for `expires` seconds to whoever has it. Raises `NotFound`, `Unsupported`."""
        identity = self._allowed("get")
        if not 1 <= expires <= MAX_EXPIRES:
            raise Invalid({"expires": f"is {expires}; give 1 to {MAX_EXPIRES} seconds"})
        await self.get(id)
        return await self.context.route("files").ability(SignsUrls).signed_url(identity, id, expires)

    async def _store(
        self, id: str, chunks: AsyncIterable[bytes] | Iterable[bytes] | bytes, sha256: str | None
    ) -> BlobInfo:
        route = self.context.route("files")
        store = route.ability(StoresFiles)
        sent = _Sent(chunks, sha256)
        with route.held():
            stored = await store.write_blob(self.context.identity, id, sent.stream())
        if stored != sent.info():
            await store.delete_blob(self.context.identity, id)
            raise Unavailable(
                f"files: the backend stored {stored.size} bytes that are not the {sent.size} sent; upload again"
            )
        return stored

    # -- rules ----------------------------------------------------------------------------------------------------

    async def _check_create(self, rows: tuple[File, ...]) -> tuple[File, ...]:
        for row in rows:
            await self._check(row)
        return rows

    async def _rule(self, current: File, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        changed = {name: value for name, value in patch.items() if getattr(current, name) != value}
        if changed.keys() & {"size", "sha256"}:
            raise Invalid(
                dict.fromkeys(changed.keys() & {"size", "sha256"}, "is what was stored; upload the content anew")
            )
        await self._check(msgspec.structs.replace(current, **changed), changed.keys())
        return patch

    async def _check(self, file: File, changed: Iterable[str] = FILES.fields) -> None:
        if "name" in changed:
            _check_name(file.name)
        if not _CONTENT_TYPE.fullmatch(file.content_type):
            raise Invalid({"content_type": "is not a media type; write one such as application/pdf"})
        if (file.owner_resource is None) != (file.owner_id is None):
            raise Invalid({"owner_id": "owner_resource and owner_id come together; give both or none"})
        if (
            file.owner_resource is not None
            and file.owner_id is not None
            and {"owner_resource", "owner_id"} & {*changed}
        ):
            await self._check_owner(file.owner_resource, file.owner_id)

    async def _check_owner(self, resource: str, id: str) -> None:
        try:
            owners = self.context.services.of(resource)
        except Invalid as error:
            raise Invalid({"owner_resource": error.fields["resource"]}) from error
        if self.context.references_checked and owners.entity.service != self.entity.service:
            return
        try:
            await owners.get(id)
        except NotFound as error:
            raise Invalid({"owner_id": f"there is no such record in {resource}"}) from error


async def _held(route: Route, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, as a call in flight: a switch meanwhile leaves their backend open to the end."""
    with route.held():
        async for chunk in chunks:
            yield chunk


class _Sent:
    """What goes to the backend: counted and hashed as it passes."""

    def __init__(self, chunks: AsyncIterable[bytes] | Iterable[bytes] | bytes, expected: str | None) -> None:
        self._chunks = (chunks,) if isinstance(chunks, bytes) else chunks
        self._expected = expected
        self._digest = hashlib.sha256()
        self.size = 0

    def info(self) -> BlobInfo:
        return BlobInfo(self.size, self._digest.hexdigest())

    async def stream(self) -> AsyncIterator[bytes]:
        if isinstance(self._chunks, AsyncIterable):
            async for chunk in self._chunks:
                yield self._counted(chunk)
        else:
            for chunk in self._chunks:
                yield self._counted(chunk)
        if self._expected is not None and self._expected.lower() != self._digest.hexdigest():
            raise Invalid({"sha256": f"the bytes that came have {self._digest.hexdigest()}; send the file again"})

    def _counted(self, chunk: bytes) -> bytes:
        self.size += len(chunk)
        if self.size > MAX_FILE:
            raise Invalid({"size": f"the file is larger than {MAX_FILE} bytes"})
        self._digest.update(chunk)
        return chunk


def _replayed(file: File, name: str, sha256: str | None) -> File:
    """The file that this upload made before. Raises `Invalid` where it is not the same upload."""
    if file.name != name or (sha256 is not None and sha256.lower() != file.sha256):
        raise Invalid({"operation_id": "was used for another request; mint a new one"})
    return file


def _check_name(name: str) -> None:
    """Refuse names that are more than a name, or look like another one."""
    if "/" in name or "\\" in name or name in (".", ".."):
        problem = "is a path; give the file's name alone"
    elif found := next((char for char in name if unicodedata.category(char) in _INVISIBLE), None):
        problem = f"has the invisible character U+{ord(found):04X}; remove it"
    elif len(name.encode()) > 255:
        problem = "is longer than 255 bytes in UTF-8; shorten it"
    elif name != name.strip() or name.endswith("."):
        problem = "begins or ends with a space, or ends with a dot; remove it"
    else:
        return
    raise Invalid({"name": problem})
