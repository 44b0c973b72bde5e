"""Both engines against a server that misbehaves: nothing but the contract's errors leaves them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.patience import PATIENCE
from tests.rest.servers import serving

from interlock.errors import DeadlineExceeded, InterlockError, OutcomeUnknown, Unavailable
from interlock.http import Call, Engine, EngineName, open_engine
from interlock.testing.hostile import (
    HostileServer,
    dead_address,
    drop,
    drop_after_request,
    hang,
    raw,
    stall_body,
    status,
    truncated,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["pyreqwest", "aiohttp"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    name: EngineName = request.param
    engine = open_engine(name)
    yield engine
    await engine.aclose()
    await engine.aclose()


@pytest.fixture
async def server() -> AsyncIterator[HostileServer]:
    async with HostileServer() as server:
        yield server


READ = None
WRITE = "operation-1"


async def error_of(engine: Engine, call: Call) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        await engine.send(call)
    return caught.value


async def test_a_call_and_its_reply(engine: Engine, server: HostileServer) -> None:
    server.behave(status(207, b"body", {"X-Total-Count": "7"}))
    reply = await engine.send(
        Call("POST", f"{server.url}/a%2Fb?x=%2C+y", {"X-One": "1"}, b'{"a":1}', operation_id=WRITE)
    )
    assert (reply.status, reply.body, reply.header("x-total-count"), reply.header("x-none")) == (
        207,
        b"body",
        "7",
        None,
    )
    (seen,) = server.requests
    assert (seen.method, seen.path, seen.body) == ("POST", "/a%2Fb?x=%2C+y", b'{"a":1}')
    assert seen.headers["x-one"] == "1"


@pytest.mark.parametrize("operation", [READ, WRITE])
async def test_nobody_listens(engine: Engine, operation: str | None) -> None:
    error = await error_of(engine, Call("POST", f"{dead_address()}/x", operation_id=operation))
    assert type(error) is Unavailable
    assert error.__cause__ is not None


@pytest.mark.parametrize(
    "behaviour",
    [
        drop(),
        drop_after_request(),
        raw(b"nonsense\r\n\r\n"),
        truncated(b"x" * 1000, keep=10),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ],
    ids=["dropped", "reset", "nonsense", "truncated", "bad-chunk"],
)
async def test_a_broken_answer(engine: Engine, server: HostileServer, behaviour: object) -> None:
    server.behave(behaviour)  # type: ignore[arg-type]  # one of the server's behaviours
    assert type(await error_of(engine, Call("GET", server.url))) is Unavailable
    error = await error_of(engine, Call("POST", server.url, operation_id=WRITE))
    assert isinstance(error, OutcomeUnknown)
    assert error.operation_id == WRITE


@pytest.mark.parametrize("behaviour", [hang(), stall_body(b"x" * 100, keep=5)], ids=["hang", "stall"])
async def test_no_answer_in_time(engine: Engine, server: HostileServer, behaviour: object) -> None:
    server.behave(behaviour)  # type: ignore[arg-type]  # one of the server's behaviours
    assert type(await error_of(engine, Call("GET", server.url, timeout=0.2))) is DeadlineExceeded
    assert type(await error_of(engine, Call("POST", server.url, timeout=0.2, operation_id=WRITE))) is OutcomeUnknown


async def test_a_body_that_is_too_large(engine: Engine, server: HostileServer) -> None:
    server.behave(status(200, b"x" * 1001))
    assert type(await error_of(engine, Call("GET", server.url, limit=1000))) is Unavailable
    assert (await engine.send(Call("GET", server.url, limit=1001))).body == b"x" * 1001


async def test_a_body_that_grows_when_unpacked(engine: Engine, server: HostileServer) -> None:
    server.behave(status(200, gzip.compress(b"\0" * 50_000_000), {"Content-Encoding": "gzip"}))
    error = await error_of(engine, Call("GET", server.url, limit=1_000_000))
    assert type(error) is Unavailable
    assert "larger" in error.message


async def test_a_redirect_is_not_followed(engine: Engine, server: HostileServer) -> None:
    server.behave(status(307, headers={"Location": f"{server.url}/elsewhere"}))
    assert (await engine.send(Call("GET", server.url, {"Authorization": "Bearer t"}))).status == 307
    assert len(server.requests) == 1


@pytest.mark.parametrize("url", ["http://", "http://[", "nonsense", "http://exa mple/", "http://127.0.0.1:99999/"])
async def test_an_address_that_is_none(engine: Engine, url: str) -> None:
    assert type(await error_of(engine, Call("GET", url))) is Unavailable


async def whole(engine: Engine, call: Call) -> bytes:
    async with engine.stream(call) as reply:
        return b"".join([chunk async for chunk in reply.chunks])


async def test_bodies_stream_both_ways(engine: Engine, server: HostileServer) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for part in (b"one", b"two" * 50_000, b"three"):
            yield part

    server.behave(status(200, b"y" * 300_000))
    call = Call("PUT", server.url, body=chunks(), operation_id=WRITE)
    assert await whole(engine, call) == b"y" * 300_000
    assert server.requests[0].body == b"one" + b"two" * 50_000 + b"three"


async def test_a_stream_gives_what_has_come_so_far(engine: Engine, server: HostileServer) -> None:
    server.behave(stall_body(b"data: 1\n\n" + b"x" * 1000, keep=9))
    async with asyncio.timeout(PATIENCE), engine.stream(Call("GET", server.url, timeout=None)) as reply:
        assert await anext(reply.chunks) == b"data: 1\n\n"


async def test_a_stream_that_breaks(engine: Engine, server: HostileServer) -> None:
    server.behave(truncated(b"z" * 1000, keep=100))
    for url in (server.url, dead_address()):
        with pytest.raises(Unavailable):
            await whole(engine, Call("GET", url))


async def drain(scope: Any, receive: Any, send: Any) -> None:
    """Reads everything, and answers nothing to a client that has gone."""
    while (await receive()).get("more_body"):
        pass


async def test_an_error_of_the_streamed_body_reaches_the_caller(engine: Engine) -> None:
    class SourceError(Exception):
        pass

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        raise SourceError

    async with serving(drain) as url:
        with pytest.raises((SourceError, OutcomeUnknown)):
            await whole(engine, Call("PUT", url, body=chunks(), operation_id=WRITE))


async def test_cancelling_leaves_the_engine_usable(engine: Engine, server: HostileServer) -> None:
    server.behave(hang(), status(200, b"ok"))
    task = asyncio.create_task(engine.send(Call("GET", server.url)))
    async with asyncio.timeout(PATIENCE):
        while not server.requests:  # noqa: ASYNC110 - the server remembers, and tells nobody
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await engine.send(Call("GET", server.url))).body == b"ok"


async def test_a_closed_engine_is_unavailable(engine: Engine, server: HostileServer) -> None:
    server.behave(status(200))
    await engine.send(Call("GET", server.url))
    await engine.aclose()
    assert type(await error_of(engine, Call("GET", server.url))) is Unavailable


def test_a_call_hides_its_token() -> None:
    assert "secret" not in repr(Call("GET", "http://x/y?token=secret", {"Authorization": "Bearer secret"}, b"secret"))
