"""Files in Supabase Storage beside what the suite asks: roles, limits, tokens, plain clients, and storage that is away."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from tests.patience import PATIENCE
from tests.supabase.files.conftest import Tokens

from interlock.abilities import SignsUrls, StoresFiles
from interlock.backends.supabase.files import SupabaseFiles
from interlock.contract import Identity
from interlock.devstack import Stack
from interlock.errors import Forbidden, InterlockError, Invalid, Misconfigured, NotFound, Unauthenticated, Unavailable
from interlock.http import open_engine
from interlock.identifiers import new_id
from interlock.testing.harness import new_identity, streamed
from supabase import AsyncClient, acreate_client

pytestmark = pytest.mark.anyio


async def content(
    files: SupabaseFiles, identity: Identity, file_id: str, start: int = 0, end: int | None = None
) -> bytes:
    return b"".join([chunk async for chunk in files.read_blob(identity, file_id, start, end)])


async def official(stack: Any, tokens: Tokens, identity: Identity) -> AsyncClient:
    client = await acreate_client(stack.url, stack.anon_key)
    client.options.headers["Authorization"] = f"Bearer {await tokens.token(identity)}"
    return client


@pytest.fixture
async def service(stack: Any) -> AsyncClient:
    return await acreate_client(stack.url, stack.service_key)


@pytest.fixture
async def limit(service: AsyncClient) -> AsyncIterator[Any]:
    """Sets the bucket's limit, in bytes; afterwards it is a large one."""

    async def to(size: int) -> None:
        await service.storage.update_bucket("files", {"public": False, "file_size_limit": size})

    yield to
    await to(5 * 2**30)


async def test_it_stores_and_signs(files: SupabaseFiles) -> None:
    assert isinstance(files, StoresFiles)
    assert isinstance(files, SignsUrls)
    assert "apikey" not in repr(files)


# -- who may ------------------------------------------------------------------------------------------------------------


async def test_a_viewer_reads_and_writes_nothing(files: SupabaseFiles) -> None:
    agent = new_identity("agent")
    viewer = new_identity("viewer", agent.tenant_id)
    file_id = new_id()
    await files.write_blob(agent, file_id, streamed(b"bytes"))
    assert await content(files, viewer, file_id) == b"bytes"
    for attempt in (
        files.write_blob(viewer, file_id, streamed(b"mine")),
        files.write_blob(viewer, new_id(), streamed(b"")),
    ):
        with pytest.raises(Forbidden):
            await attempt
    with pytest.raises(Forbidden):
        await files.delete_blob(viewer, file_id)
    assert await content(files, agent, file_id) == b"bytes"


async def test_an_agent_takes_back_only_what_no_record_names(files: SupabaseFiles, stack: Any, tokens: Tokens) -> None:
    agent = new_identity("agent")
    orphan, kept = new_id(), new_id()
    for file_id in (orphan, kept):
        await files.write_blob(agent, file_id, streamed(b"bytes"))
    headers = {"apikey": stack.anon_key, "Authorization": f"Bearer {await tokens.token(agent)}"}
    record = {"id": kept, "name": "a.txt", "content_type": "text/plain", "size": 5, "sha256": "0" * 64}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers) as client:
        assert (await client.post("/rest/v1/files", json=record)).status_code == 201
    await files.delete_blob(agent, orphan)
    with pytest.raises(NotFound):
        await content(files, agent, orphan)
    with pytest.raises(Forbidden):
        await files.delete_blob(agent, kept)
    await files.delete_blob(new_identity("manager", agent.tenant_id), kept)


async def test_another_tenant_finds_nothing_by_the_official_client(
    files: SupabaseFiles, stack: Any, tokens: Tokens
) -> None:
    mine, theirs = new_identity(), new_identity()
    file_id = new_id()
    await files.write_blob(theirs, file_id, streamed(b"secret"))
    path = f"{theirs.tenant_id}/{file_id}"
    bucket = (await official(stack, tokens, mine)).storage.from_("files")
    assert await bucket.list(theirs.tenant_id) == []
    assert await bucket.remove([path]) == []
    for attempt in (
        bucket.download(path),
        bucket.create_signed_url(path, 60),
        bucket.info(path),
        bucket.copy(path, f"{mine.tenant_id}/{new_id()}"),
        bucket.move(path, f"{mine.tenant_id}/{new_id()}"),
        bucket.upload(path, b"mine", {"upsert": "true"}),
        bucket.upload(f"{theirs.tenant_id}/{new_id()}", b"mine"),
        bucket.upload(f"{mine.tenant_id}/../{path}", b"mine"),
    ):
        with pytest.raises(Exception, match=r"not found|security|dot segments|Invalid"):
            await attempt
    assert await content(files, theirs, file_id) == b"secret"


@pytest.mark.parametrize("tenant", ["..", ".", "a/b", "a\\b", "a%2fb", "", "ä"])
async def test_no_name_leads_elsewhere(files: SupabaseFiles, tenant: str) -> None:
    identity = Identity(new_id(), tenant, "admin")
    with pytest.raises((Invalid, Unauthenticated)):
        await files.write_blob(identity, new_id(), streamed(b"x"))
    with pytest.raises((Invalid, Unauthenticated)):
        await content(files, identity, new_id())


# -- plain clients ------------------------------------------------------------------------------------------------------


async def test_bytes_are_the_official_clients_too(files: SupabaseFiles, stack: Any, tokens: Tokens) -> None:
    me = new_identity()
    ours, plain = new_id(), new_id()
    data = bytes(range(256)) * 300
    bucket = (await official(stack, tokens, me)).storage.from_("files")
    await files.write_blob(me, ours, streamed(data))
    assert await bucket.download(f"{me.tenant_id}/{ours}") == data
    await bucket.upload(f"{me.tenant_id}/{plain}", data)
    assert await content(files, me, plain) == data
    assert await content(files, me, plain, 70_000, 70_010) == data[70_000:70_010]
    assert {found["name"] for found in await bucket.list(me.tenant_id)} == {ours, plain}


@pytest.mark.clock
async def test_a_signed_url_ends(files: SupabaseFiles) -> None:
    me, file_id = new_identity(), new_id()
    await files.write_blob(me, file_id, streamed(b"0123456789"))
    url = await files.signed_url(me, file_id, 2)
    async with httpx.AsyncClient() as client:
        part = await client.get(url, headers={"Range": "bytes=2-4"})
        assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
        async with asyncio.timeout(PATIENCE):
            while (answer := await client.get(url)).status_code == 200:  # noqa: ASYNC110 - it ends by itself, and tells nobody
                await asyncio.sleep(0.1)
        assert answer.status_code == 400
    with pytest.raises(Invalid, match="expires"):
        await files.signed_url(me, file_id, 0)


# -- tokens -------------------------------------------------------------------------------------------------------------


@pytest.mark.clock
async def test_an_old_token_is_renewed_once(stack: Any) -> None:
    stale = Tokens(stack.jwt_secret)
    engine = open_engine()
    files = SupabaseFiles(stack.url, stack.anon_key, engine=engine, tokens=stale)
    me, file_id = new_identity(), new_id()
    big = b"x" * 1_500_000

    async def everything() -> None:
        stale.spoilt = spoilt
        await files.write_blob(me, file_id, streamed(big))

    for spoilt in (1, 0):
        await everything()
        stale.spoilt = spoilt
        assert await content(files, me, file_id) == big
        stale.spoilt = spoilt
        await files.signed_url(me, file_id, 60)
        stale.spoilt = spoilt
        await files.delete_blob(me, new_id())
    for attempt in (
        files.write_blob(me, file_id, streamed(b"new")),
        content(files, me, file_id),
        files.signed_url(me, file_id, 9),
    ):
        stale.spoilt = 9
        with pytest.raises(Unauthenticated):
            await attempt
    stale.spoilt = 0
    assert await content(files, me, file_id) == big
    await files.aclose()
    await engine.aclose()


# -- limits, and what is away -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1001, 3_000_000])
async def test_a_file_too_large_for_the_bucket_is_invalid(files: SupabaseFiles, limit: Any, size: int) -> None:
    me, file_id = new_identity(), new_id()
    await files.write_blob(me, file_id, streamed(b"old"))
    await limit(1000)
    with pytest.raises(Invalid) as failure:
        await files.write_blob(me, file_id, streamed(b"x" * size))
    assert str(size) in failure.value.fields["size"]
    assert await content(files, me, file_id) == b"old"
    await files.write_blob(me, file_id, streamed(b"x" * 1000))
    await limit(5 * 2**30)
    info = await files.write_blob(me, file_id, streamed(b"x" * size))
    assert info.sha256 == hashlib.sha256(b"x" * size).hexdigest()


FULL = """
create function app.full_bucket() returns trigger language plpgsql as
  $$ begin raise sqlstate '53100' using message = 'the tenant''s room is used up'; end $$;
create trigger full_bucket before insert or update of metadata on storage.objects for each row
  when (new.name like '{tenant}/%') execute function app.full_bucket();
"""


async def test_a_full_bucket_is_unavailable_until_there_is_room(local_stack: Stack, files: SupabaseFiles) -> None:
    me, file_id = new_identity(), new_id()
    await files.write_blob(me, file_id, streamed(b"old"))
    database = await asyncpg.connect(local_stack.database_url)
    await database.execute(FULL.replace("{tenant}", me.tenant_id))
    try:
        with pytest.raises(Unavailable):
            await files.write_blob(me, file_id, streamed(b"more"))
        assert await content(files, me, file_id) == b"old"
    finally:
        await database.execute("drop function app.full_bucket() cascade")
        await database.close()
    await files.write_blob(me, file_id, streamed(b"more"))
    assert await content(files, me, file_id) == b"more"


async def test_a_project_without_the_bucket_lacks_a_migration(stack: Any, tokens: Tokens) -> None:
    engine = open_engine()
    files = SupabaseFiles(stack.url, stack.anon_key, engine=engine, tokens=tokens, bucket="nowhere")
    me = new_identity()
    for attempt in (
        files.write_blob(me, new_id(), streamed(b"x")),
        content(files, me, new_id()),
        files.signed_url(me, new_id(), 60),
        files.delete_blob(me, new_id()),
    ):
        with pytest.raises(Misconfigured, match="supabase db push"):
            await attempt
    await files.aclose()
    await engine.aclose()


async def test_storage_that_is_stopped_is_unavailable_until_it_is_back(
    local_stack: Stack, files: SupabaseFiles
) -> None:
    me, file_id = new_identity(), new_id()
    await files.write_blob(me, file_id, streamed(b"bytes"))
    await local_stack.stop_part("gateway")
    try:
        for attempt in (
            files.write_blob(me, file_id, streamed(b"x")),
            content(files, me, file_id),
            files.signed_url(me, file_id, 60),
            files.delete_blob(me, file_id),
        ):
            with pytest.raises(Unavailable):
                await attempt
    finally:
        await local_stack.start_part("gateway")
    assert await content(files, me, file_id) == b"bytes"


async def test_a_sender_that_breaks_off_sends_nothing(files: SupabaseFiles) -> None:
    me, file_id = new_identity(), new_id()

    async def broken() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000
        raise ConnectionResetError("the sender is gone")

    with pytest.raises((ConnectionResetError, InterlockError)):
        await files.write_blob(me, file_id, broken())
    with pytest.raises(NotFound):
        await content(files, me, file_id)
