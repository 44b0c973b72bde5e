"""The way to a real server: addresses, passwords, refusals and what a key shows."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.shared_cache.conftest import AT_ONCE, Join, over

from interlock.backends.memory import MemoryBackend
from interlock.contract import Condition, Identity, Query, Request
from interlock.entities.customer import Tag
from interlock.errors import Misconfigured
from interlock.identifiers import new_id
from interlock.layers.shared.link import Address, Link
from interlock.layers.shared.redis import RedisStore
from interlock.layers.shared.store import Kept, OutOfReach, Renewal
from interlock.testing.servers import RedisServer

pytestmark = pytest.mark.anyio

SCOPE = ("tenant-name", "tags")


def test_an_address_is_read_from_its_url() -> None:
    full = Address.parse("rediss://somebody:pass%40word@cache.test:7000/3?ca=ca.pem")
    assert full == Address(
        host="cache.test", port=7000, db=3, user="somebody", password="pass@word", tls=True, ca="ca.pem"
    )
    assert "word" not in repr(full)
    assert Address.parse("redis://localhost") == Address(host="localhost")
    assert Address.parse("valkey://:secret@cache.test") == Address(host="cache.test", password="secret")
    assert Address.parse("unix:///run/cache?db=2") == Address(path="/run/cache", db=2)


@pytest.mark.parametrize(
    "url",
    [
        "http://:hunter2@host",
        "redis://:hunter2@",
        "redis://:hunter2@host/x",
        "redis://:hunter2@host:99999",
        "redis://:hunter2@h?x=1",
    ],
)
def test_a_url_that_is_none_is_said_to_be_without_its_password(url: str) -> None:
    with pytest.raises(Misconfigured, match="INTERLOCK_REDIS_URL") as caught:
        RedisStore(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_a_password_is_given_and_never_told(server: RedisServer) -> None:
    server.command("CONFIG", "SET", "requirepass", "hunter2")
    good = RedisStore(f"{server.url.replace('unix://', 'unix://:hunter2@')}")
    await good.connect()
    assert good.connected
    await good.aclose()
    assert "hunter2" not in repr(good)
    for url, reason in (("unix://:hunter3@", "refuses the password"), ("unix://", "asks for a password")):
        with pytest.raises(OutOfReach, match=reason) as caught:
            await RedisStore(server.url.replace("unix://", url)).connect()
        assert "hunter3" not in str(caught.value)


async def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        store = RedisStore(f"redis://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(OutOfReach, match="no connection"):
            await store.connect()
    with pytest.raises(OutOfReach, match="not connected"):
        await store.retire("any")


async def test_somebody_else_is_there() -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(http, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(OutOfReach, match="does not speak the protocol"):
            await RedisStore(f"redis://127.0.0.1:{port}").connect()


async def test_calls_are_answered_in_order_and_whole(shared_server: RedisServer) -> None:
    link = await Link.open(Address.parse(shared_server.url), 5, 5)
    big = bytes(range(256)) * 4000
    calls = [link.call("ECHO", big if n % 7 == 0 else str(n)) for n in range(100)]
    assert [await call for call in calls] == [big if n % 7 == 0 else str(n).encode() for n in range(100)]
    assert await link.call("EVAL", "return {1, {'a', false}, redis.status_reply('OK')}", "0") == [
        1,
        [b"a", None],
        b"OK",
    ]
    given_up = link.call("PING")
    given_up.cancel()
    assert await link.call("ECHO", "x") == b"x"
    link.fail("closed")
    with pytest.raises(OutOfReach, match="closed"):
        await link.call("PING")


async def opened(server: RedisServer) -> RedisStore:
    store = RedisStore(server.url, AT_ONCE, patience=2.0)
    _, now = await store.connect()
    assert (await store.renew(Renewal("me", now + 3000, True, False))).accepted
    return store


async def test_scripts_that_were_taken_away_are_brought_back(server: RedisServer) -> None:
    store = await opened(server)
    server.command("SCRIPT", "FLUSH")
    with pytest.raises(OutOfReach, match="scripts"):
        await store.end((SCOPE,), "1")
    assert not store.connected
    await store.connect()
    await store.end((SCOPE,), "1")
    await store.aclose()


async def test_another_server_on_the_same_connection_is_noticed(server: RedisServer) -> None:
    store = await opened(server)
    store._run = "0" * 40
    with pytest.raises(OutOfReach, match="another server"):
        await store.read("me", "s", SCOPE, b"key")
    assert not store.connected


async def test_a_replica_is_as_good_as_away(server: RedisServer) -> None:
    store = await opened(server)
    server.command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(OutOfReach, match="replica"):
        await store.begin((SCOPE,), "1")
    await store.aclose()


async def test_a_full_server_keeps_nothing_new_and_still_hears_of_writes(server: RedisServer) -> None:
    store = await opened(server)
    found = await store.read("me", "s", SCOPE, b"key")
    await store.keep("me", "s", SCOPE, b"key", found.stamp, Kept(b"old", 60_000, 60_000, 60_000))
    server.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(OutOfReach, match="full"):
        await store.keep("me", "s", SCOPE, b"other", found.stamp, Kept(b"x", 60_000, 60_000, 60_000))
    assert store.connected
    assert (await store.read("me", "s", SCOPE, b"key")).value == b"old"
    await store.begin((SCOPE, ("new", "tags")), "1")
    assert (await store.read("me", "s", SCOPE, b"key")).verdict == "pending"
    await store.end((SCOPE, ("new", "tags")), "1")
    assert (await store.read("me", "s", SCOPE, b"key")).value is None
    _, now = await store.connect()
    assert (await store.renew(Renewal("me", now + 3000, False, False))).accepted
    await store.aclose()


async def test_one_of_all_loads_an_answer_anew(server: RedisServer) -> None:
    store = await opened(server)
    found = await store.read("me", "s", SCOPE, b"key")
    await store.keep("me", "s", SCOPE, b"key", found.stamp, Kept(b"value", 0, 60_000, 60_000))
    phases = [(await store.read("me", "s", SCOPE, b"key")).phase for _ in range(3)]
    assert phases == ["refresh", "fresh", "fresh"]
    await store.aclose()


async def test_a_scope_that_may_have_been_evicted_is_taken_for_marked(server: RedisServer) -> None:
    store = await opened(server)
    link = await Link.open(Address.parse(server.url), 5, 5)
    assert (await store.read("me", "s", SCOPE, b"key")).verdict == "serve"
    await link.call("SET", "soon to end", b"x" * 4_000_000, "EX", "100")
    used = int((await link.call("INFO", "memory")).partition(b"used_memory:")[2].split()[0])
    await link.call("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    await link.call("CONFIG", "SET", "maxmemory", str(used - 2_000_000))
    while await link.call("EXISTS", "soon to end"):
        await link.call("SET", "some", "more", "EX", "100000")
    await link.call("CONFIG", "SET", "maxmemory", "0")
    assert (await store.read("me", "s", SCOPE, b"key")).verdict == "serve"
    assert (await store.read("me", "s", ("not there", "tags"), b"key")).verdict == "pending"
    link.fail("closed")
    await store.aclose()


async def test_no_key_shows_whose_it_is(server: RedisServer, join: Join, memory: MemoryBackend) -> None:
    cache = over(memory, await join(server.url))
    me = Identity("user-of-acme", "tenant-acme", "admin", "me@acme.test")
    await cache.handle(Request("create", "tags", me, rows=(Tag(id=new_id(), name="x"),), operation_id=new_id()))
    query = Query(where=Condition("name", "eq", "somebody@acme.test"))
    for _ in range(2):
        await cache.handle(Request("find", "tags", me, query=query))
    assert cache.hits == 1
    link = await Link.open(Address.parse(server.url), 5, 5)
    keys = b" ".join(await link.call("KEYS", "*"))
    assert b"answer:" in keys
    assert b"acme" not in keys
    assert all([await link.call("PTTL", key) > 0 for key in await link.call("KEYS", "*")])
    link.fail("closed")


async def test_what_cannot_be_told_apart_shares_nothing(server: RedisServer, join: Join, memory: MemoryBackend) -> None:
    membership = await join(server.url)
    me, colleague = (Identity(new_id(), "t", "agent") for _ in range(2))
    request = Request("find", "tags", me, query=Query())
    theirs = Request("find", "tags", colleague, query=Query())
    by_user, by_tenant = over(memory, membership), over(memory, membership, varies="tenant", where="there")
    elsewhere = over(memory, membership, where="elsewhere")
    assert [(await by_user.handle(each)).cached for each in (request, request, theirs)] == [False, True, False]
    assert [(await by_tenant.handle(each)).cached for each in (request, theirs)] == [False, True]
    assert not (await elsewhere.handle(request)).cached


async def test_a_service_of_which_nothing_is_kept_ends_what_is_kept_of_the_trail(
    server: RedisServer, join: Join, memory: MemoryBackend
) -> None:
    membership = await join(server.url)
    trail, beside = over(memory, membership), over(memory, membership, keeps=False)
    me = Identity(new_id(), "t", "admin")
    entries = Request("find", "audit", me, query=Query())
    assert [(await trail.handle(entries)).cached for _ in range(2)] == [False, True]
    await beside.handle(Request("create", "tags", me, rows=(Tag(id=new_id(), name="x"),), operation_id=new_id()))
    assert len((await trail.handle(entries)).rows) == 1
    assert [(await beside.handle(entries)).cached for _ in range(2)] == [False, False]
