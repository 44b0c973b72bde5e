"""What breaks beneath the backend becomes an error of ours, and the backend comes back by itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from interlock.backends.sql import SqlBackend, migrate
from interlock.contract import Identity, Query, Request
from interlock.entities import CUSTOMERS, ENTITIES
from interlock.errors import DeadlineExceeded, Misconfigured, OutcomeUnknown, Unavailable
from interlock.identifiers import new_id
from interlock.ports import free_port
from interlock.testing.servers import PostgresServer
from interlock.validation import check_row

pytestmark = pytest.mark.anyio

Open = Callable[[str], Awaitable[SqlBackend]]


def creation(me: Identity, name: str = "x", operation_id: str = "") -> Request:
    return Request(
        "create", "customers", me, rows=(check_row(CUSTOMERS, {"company_name": name}),), operation_id=operation_id
    )


def finding(me: Identity) -> Request:
    return Request("find", "customers", me, query=Query(count="exact"))


async def test_a_dead_server_is_unavailable(me: Identity) -> None:
    backend = SqlBackend(f"postgresql+asyncpg://somebody:hush@127.0.0.1:{free_port()}/x", ENTITIES)
    for request in (finding(me), creation(me), Request("get", "customers", me, ids=(new_id(),))):
        with pytest.raises(Unavailable) as caught:
            await backend.handle(request)
        assert "hush" not in repr(caught.value)
        assert caught.value.__cause__ is not None
    health = await backend.probe()
    assert not health.healthy
    assert "hush" not in health.detail
    await backend.aclose()
    await backend.aclose()


async def test_a_database_that_is_not_there_is_misconfigured(postgres: PostgresServer, me: Identity) -> None:
    backend = SqlBackend(postgres.url("nowhere"), ENTITIES)
    with pytest.raises(Misconfigured, match="check the URL"):
        await backend.handle(finding(me))
    with pytest.raises(Misconfigured, match="check the URL"):
        await migrate(postgres.url("nowhere"))
    await backend.aclose()


@pytest.mark.parametrize("content", [b"this is no database at all, only text" * 100, None])
async def test_a_file_that_is_no_database_is_misconfigured(tmp_path: Path, me: Identity, content: bytes | None) -> None:
    path = tmp_path / "file.db"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    backend = SqlBackend(f"sqlite+aiosqlite:///{path}", ENTITIES)
    with pytest.raises(Misconfigured, match="check the path"):
        await backend.handle(finding(me))
    with pytest.raises(Misconfigured, match="check the path"):
        await backend.handle(creation(me))
    await backend.aclose()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_it_comes_back_when_postgresql_does(opened: Open, me: Identity, how: signal.Signals) -> None:
    with PostgresServer() as own:
        backend = await opened(own.new_database())
        await asyncio.gather(*(backend.handle(creation(me, str(n))) for n in range(8)))
        own.stop(how)
        with pytest.raises(Unavailable):
            await backend.handle(finding(me))
        with pytest.raises(Unavailable):
            await backend.handle(creation(me))
        assert not (await backend.probe()).healthy
        own.start()
        found = await asyncio.gather(*(backend.handle(finding(me)) for _ in range(8)))
        assert {response.total for response in found} == {8} or how is signal.SIGKILL
        assert (await backend.handle(creation(me, "after"))).outcomes[0].ok
        assert (await backend.probe()).healthy


async def test_a_restart_between_two_calls_is_not_noticed(opened: Open, me: Identity) -> None:
    with PostgresServer() as own:
        backend = await opened(own.new_database())
        await asyncio.gather(*(backend.handle(creation(me, str(n))) for n in range(4)))
        own.stop()
        own.start()
        assert (await backend.handle(creation(me))).outcomes[0].ok
        assert (await backend.handle(finding(me))).total == 5


async def test_a_backend_thrown_out_in_the_middle_tries_once_more(
    postgres: PostgresServer, opened: Open, me: Identity
) -> None:
    url = postgres.new_database()
    backend = await opened(url)
    await backend.handle(creation(me))
    name = make_url(url).database
    postgres.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")  # noqa: S608 - our own name
    assert (await backend.handle(creation(me))).outcomes[0].ok
    assert (await backend.handle(finding(me))).total == 2


GOODBYE = b"SFATAL\0C57P01\0Mterminating connection due to unexpected postmaster exit\0\0"


@asynccontextmanager
async def proxy(
    url: str, *, deaf_commits: list[int] | None = None, clients: list[asyncio.StreamWriter] | None = None
) -> AsyncIterator[str]:
    """A way to the server that breaks right after a COMMIT went through, as often as `deaf_commits` holds items; `clients` are who came."""
    target = make_url(url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if clients is not None:
            clients.append(writer)
        upstream_reader, upstream_writer = await asyncio.open_connection(target.host, target.port)
        deaf = asyncio.Event()

        async def to_client() -> None:
            while (data := await upstream_reader.read(65536)) and not deaf.is_set():
                writer.write(data)
                await writer.drain()
            writer.close()

        back = asyncio.create_task(to_client())
        while data := await reader.read(65536):
            if b"COMMIT" in data and deaf_commits:
                deaf_commits.pop()
                deaf.set()
            upstream_writer.write(data)
            await upstream_writer.drain()
        upstream_writer.close()
        await back

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield target.set(port=port).render_as_string(hide_password=False)
    finally:
        listening.close()


@pytest.mark.parametrize("ask", [finding, creation])
async def test_connections_that_were_told_goodbye_are_passed_over(
    postgres: PostgresServer, opened: Open, me: Identity, ask: Callable[[Identity], Request]
) -> None:
    url = postgres.new_database()
    await migrate(url)
    clients: list[asyncio.StreamWriter] = []
    async with proxy(url, clients=clients) as through:
        backend = await opened(through)
        await asyncio.gather(*(backend.handle(finding(me)) for _ in range(6)))
        pooled, came = [client for client in clients if not client.is_closing()], len(clients)
        assert len(pooled) == 6
        for client in pooled:
            client.write(b"E" + (len(GOODBYE) + 4).to_bytes(4, "big") + GOODBYE)
        for _ in range(3):
            await asyncio.sleep(0)
        assert all(outcome.ok for outcome in (await backend.handle(ask(me))).outcomes)
        assert len(clients) == came + 1
        await backend.aclose()


async def test_a_commit_without_an_answer_is_found_out_by_its_operation_id(
    postgres: PostgresServer, opened: Open, me: Identity
) -> None:
    url = postgres.new_database()
    await migrate(url)
    deaf: list[int] = []
    async with proxy(url, deaf_commits=deaf) as through:
        backend = await opened(through)
        deaf.append(1)
        response = await backend.handle(creation(me, operation_id=new_id()))
        assert response.outcomes[0].ok
        assert not deaf, "the commit was let through"
        assert (await backend.handle(finding(me))).total == 1
        await backend.aclose()


async def test_a_commit_without_an_answer_is_an_unknown_outcome(
    postgres: PostgresServer, opened: Open, me: Identity
) -> None:
    url = postgres.new_database()
    await migrate(url)
    deaf: list[int] = []
    async with proxy(url, deaf_commits=deaf) as through:
        backend = await opened(through)
        deaf += [1, 1]
        request = creation(me, operation_id=new_id())
        with pytest.raises(OutcomeUnknown) as caught:
            await backend.handle(request)
        assert caught.value.operation_id == request.operation_id
        assert (await backend.handle(request)).outcomes[0].ok
        assert (await backend.handle(finding(me))).total == 1
        await backend.aclose()


async def test_deadlines_hold(url: str, opened: Open, me: Identity) -> None:
    backend = await opened(url)
    now = asyncio.get_running_loop().time()
    for verb in (finding(me), creation(me)):
        late = Request(verb.verb, verb.resource, me, query=verb.query, rows=verb.rows, deadline=now - 1)
        with pytest.raises(DeadlineExceeded):
            await backend.handle(late)
        timely = Request(verb.verb, verb.resource, me, query=verb.query, rows=verb.rows, deadline=now + 60)
        await backend.handle(timely)
    assert (await backend.handle(finding(me))).total == 1


async def test_a_caller_who_goes_away_leaves_the_backend_well(url: str, opened: Open, me: Identity) -> None:
    backend = await opened(url)
    for n in range(20):
        task = asyncio.create_task(backend.handle(creation(me, str(n)) if n % 2 else finding(me)))
        for _ in range(n):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert (await backend.handle(creation(me))).outcomes[0].ok
    total = (await backend.handle(finding(me))).total
    assert total is not None
    assert 1 <= total <= 11
