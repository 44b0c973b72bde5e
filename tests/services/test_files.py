"""Files: streamed, hashed both ways, named plainly."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from interlock.abilities import BlobInfo
from interlock.contract import Identity, Request, Response
from interlock.errors import Forbidden, Invalid, NotFound, Unavailable, Unsupported
from interlock.identifiers import new_id

from .harness import World

pytestmark = pytest.mark.anyio

PIECES = [bytes([number]) * 40_000 for number in range(5)]
WHOLE = b"".join(PIECES)


async def pieces() -> AsyncIterator[bytes]:
    for piece in PIECES:
        yield piece


async def test_up_and_down(world: World) -> None:
    file = await world.agent.files.upload("Bericht é.pdf", pieces(), "application/pdf")
    assert (file.size, file.sha256) == (len(WHOLE), hashlib.sha256(WHOLE).hexdigest())
    files = world.viewer.files
    assert await (await files.download(file.id)).read() == WHOLE
    assert await (await files.download(file.id, 39_999, 80_001)).read() == WHOLE[39_999:80_001]
    assert await (await files.download(file.id, 199_990, 10**9)).read() == WHOLE[199_990:]
    for start, end in ((-1, 5), (5, 5), (200_000, None), (7, 3)):
        with pytest.raises(Invalid, match="range"):
            await files.download(file.id, start, end)
    with pytest.raises(NotFound):
        await files.download(new_id())


async def test_an_empty_file(world: World) -> None:
    file = await world.agent.files.upload("empty", b"")
    assert (file.size, file.sha256) == (0, hashlib.sha256().hexdigest())
    assert await (await world.agent.files.download(file.id)).read() == b""


@pytest.mark.parametrize(
    "name",
    [
        "../etc/passwd",
        "a/b",
        "a\\b",
        "..",
        ".",
        "",
        "a\x00b",
        "a\nb",
        "a\x7fb",
        "a\u202eb.txt",
        "a\ud800",
        " a",
        "a ",
        "a.",
        "é" * 128,
        "x" * 256,
    ],
)
async def test_names_that_are_refused(memory: World, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        await memory.agent.files.upload(name, b"x")
    assert set(caught.value.fields) == {"name"}
    assert (await memory.agent.files.list(count="exact")).total == 0


@pytest.mark.parametrize("content_type", ["text", "text/html\r\nX: y", "", "a/b/c"])
async def test_content_types_that_are_refused(memory: World, content_type: str) -> None:
    with pytest.raises(Invalid, match="content_type"):
        await memory.agent.files.upload("a", b"x", content_type)


async def test_owners(world: World) -> None:
    customer = await world.agent.customers.create(company_name="A")
    file = await world.agent.files.upload("a", b"x", owner=("customers", customer.id))
    assert (file.owner_resource, file.owner_id) == ("customers", customer.id)
    with pytest.raises(Invalid, match="owner_id"):
        await world.agent.files.upload("a", b"x", owner=("customers", new_id()))
    with pytest.raises(Invalid, match="did you mean 'customers'"):
        await world.agent.files.upload("a", b"x", owner=("customer", customer.id))
    with pytest.raises(Invalid, match="owner_resource"):
        await world.agent.files.upload("a", b"x", owner=("credentials", customer.id))
    with pytest.raises(Invalid, match="come together"):
        await world.agent.files.update(file.id, owner_id=None)


async def test_the_hash_that_the_sender_gave_must_be_right(world: World) -> None:
    right = hashlib.sha256(WHOLE).hexdigest()
    assert (await world.agent.files.upload("a", pieces(), sha256=right.upper())).sha256 == right
    with pytest.raises(Invalid, match="sha256"):
        await world.agent.files.upload("a", pieces(), sha256="0" * 64)
    assert (await world.agent.files.list(count="exact")).total == 1


async def test_a_stream_that_breaks_leaves_nothing(world: World) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise Unavailable("the sender went away")

    with pytest.raises(Unavailable, match="went away"):
        await world.agent.files.upload("a", broken())
    assert (await world.agent.files.list(count="exact")).total == 0


async def test_size_and_hash_are_what_was_stored(world: World) -> None:
    file = await world.agent.files.upload("a", b"x")
    for patch in ({"size": 5}, {"sha256": "0" * 64}):
        with pytest.raises(Invalid, match="what was stored"):
            await world.agent.files.update(file.id, patch)
    renamed = await world.agent.files.update(file.id, name="b", size=1, sha256=file.sha256)
    assert renamed.name == "b"
    with pytest.raises(Invalid, match="name"):
        await world.agent.files.update(file.id, name="../b")


async def test_content_by_itself(world: World) -> None:
    """The way in for an edge: bytes first under an id, then the record; or new bytes for a record."""
    files = world.agent.files
    fresh = new_id()
    stored = await files.write_content(fresh, pieces())
    file = await files.create(id=fresh, name="a", size=stored.size, sha256=stored.sha256)
    assert await (await files.download(file.id)).read() == WHOLE
    await files.write_content(file.id, b"new")
    again = await files.get(file.id)
    assert (again.size, again.sha256) == (3, hashlib.sha256(b"new").hexdigest())
    assert await (await files.download(file.id)).read() == b"new"
    with pytest.raises(Invalid, match="has a record"):
        await files.delete_content(file.id)
    await files.write_content(other := new_id(), b"x")
    await files.delete_content(other)
    with pytest.raises(Forbidden):
        await world.viewer.files.write_content(file.id, b"x")
    with pytest.raises(Invalid, match="id"):
        await files.write_content("../x", b"x")


class Lying:
    """A store that keeps something else than it was given, or gives something else than it kept."""

    def __init__(self, inner: Any, *, stores: bool = False, serves: bytes | None = None, short: bool = False) -> None:
        self.inner = inner
        self.stores = stores
        self.serves = serves
        self.short = short

    async def handle(self, request: Request) -> Response:
        return await self.inner.handle(request)  # type: ignore[no-any-return]  # it wraps any backend

    async def write_blob(self, identity: Identity, file_id: str, chunks: AsyncIterator[bytes]) -> BlobInfo:
        info: BlobInfo = await self.inner.write_blob(identity, file_id, chunks)
        return BlobInfo(info.size, "0" * 64) if self.stores else info

    async def read_blob(
        self, identity: Identity, file_id: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        async for chunk in self.inner.read_blob(identity, file_id, start, end):
            yield self.serves or chunk
            if self.short:
                return

    async def delete_blob(self, identity: Identity, file_id: str) -> None:
        await self.inner.delete_blob(identity, file_id)


async def test_a_store_that_keeps_something_else_is_found_out(memory: World) -> None:
    memory.serve(Lying(memory.backend, stores=True), "lying", "files")
    with pytest.raises(Unavailable, match="upload again"):
        await memory.agent.files.upload("a", pieces())
    assert (await memory.agent.files.list(count="exact")).total == 0


async def test_a_store_that_gives_something_else_is_found_out(memory: World) -> None:
    file = await memory.agent.files.upload("a", b"hello")
    memory.serve(Lying(memory.backend, serves=b"olleh"), "lying", "files")
    got = []
    with pytest.raises(Unavailable, match="not what was stored"):  # noqa: PT012 - what came before the error matters
        async for chunk in await memory.agent.files.download(file.id):
            got.append(chunk)  # noqa: PERF401 - what came before the error is kept
    assert got == []


async def test_a_store_that_stops_early_is_found_out(memory: World) -> None:
    file = await memory.agent.files.upload("a", pieces())
    memory.serve(Lying(memory.backend, short=True), "lying", "files")
    whole, part = await memory.agent.files.download(file.id), await memory.agent.files.download(file.id, 10, 190_000)
    for download in (whole, part):
        if file.size > 64 * 1024:
            with pytest.raises(Unavailable, match="not what was stored"):
                await download.read()


async def test_signed_urls(world: World) -> None:
    file = await world.agent.files.upload("a", b"x")
    with pytest.raises(Invalid, match="expires"):
        await world.agent.files.signed_url(file.id, 0)
    with pytest.raises(NotFound):
        await world.agent.files.signed_url(new_id())
    with pytest.raises(Unsupported):
        await world.agent.files.signed_url(file.id)


async def test_other_tenants_have_other_files(world: World) -> None:
    await world.populate("globex")
    file = await world.agent.files.upload("a", b"secret")
    foreign = world.as_("globex.admin").files
    with pytest.raises(NotFound):
        await foreign.download(file.id)
    await foreign.write_content(file.id, b"other")
    assert await (await world.agent.files.download(file.id)).read() == b"secret"


async def test_a_repeated_upload_stores_nothing(world: World) -> None:
    first = await world.agent.files.upload("a", b"first", operation_id="up-1")
    assert await world.agent.files.upload("a", b"other bytes", operation_id="up-1") == first
    assert await (await world.agent.files.download(first.id)).read() == b"first"
    for name, sha256 in (("b", None), ("a", "0" * 64)):
        with pytest.raises(Invalid, match="operation_id"):
            await world.agent.files.upload(name, b"first", sha256=sha256, operation_id="up-1")


async def test_a_record_that_may_be_there_keeps_its_bytes(memory: World) -> None:
    class Vanishing(Lying):
        async def handle(self, request: Request) -> Response:
            await super().handle(request)
            raise Unavailable("the answer was lost")

    memory.serve(Vanishing(memory.backend), "vanishing", "files")
    with pytest.raises(Unavailable):
        await memory.agent.files.upload("a", b"x")
    memory.serve(memory.backend, "test", "files")
    (file,) = await memory.agent.files.list()
    assert await (await memory.agent.files.download(file.id)).read() == b"x"
