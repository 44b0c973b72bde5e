"""The gateway with its cache on answers what it answers without: to everybody their own, and what was written at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.conftest import PREFIX, Gateway, opened
from tests.patience import PATIENCE

from interlock.app import App
from interlock.backends.memory import MemoryBackend
from interlock.contract import Identity, Request, Response
from interlock.errors import Unavailable
from interlock.gateway import create_app
from interlock.gateway.edge import Edge
from interlock.gateway.memory import Bodies, Body, Memory
from interlock.identifiers import new_id
from interlock.settings import Settings

pytestmark = pytest.mark.anyio

URL = f"{PREFIX}/customers"
LAYERS = {"cache": True, "dedup": True, "batch": True}


@pytest.fixture
async def cached(tmp_path: Path) -> AsyncIterator[Gateway]:
    async for found in opened(tmp_path, **LAYERS):
        yield found


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Every request that reached the memory backend."""
    seen: list[Request] = []
    handle = MemoryBackend.handle

    async def counted(self: MemoryBackend, request: Request) -> Response:
        seen.append(request)
        return await handle(self, request)

    monkeypatch.setattr(MemoryBackend, "handle", counted)
    return seen


async def people(gateway: Gateway, *names: str) -> dict[str, str]:
    """Users of north, by name: their ids."""
    admin = gateway.client("admin")
    made = {}
    for name in names:
        answer = await admin.post(f"{PREFIX}/users", json={"email": f"{name}@north.test", "displayName": name})
        assert answer.status_code == 201, answer.text
        made[name] = answer.json()["id"]
    return made


async def test_a_hit_reaches_no_backend_and_has_the_same_bytes(calls: list[Request], cached: Gateway) -> None:
    client = cached.client()
    for place in range(3):
        assert (await client.post(URL, json={"companyName": f"c{place}"})).status_code == 201
    first = await client.get(f"{URL}?_sort=companyName&_order=ASC")
    one = await client.get(f"{URL}/{first.json()[0]['id']}")
    before = len(calls)
    for _ in range(3):
        again = await client.get(f"{URL}?_sort=companyName&_order=ASC")
        assert (again.content, again.headers) == (first.content, first.headers)
        once_more = await client.get(f"{URL}/{first.json()[0]['id']}")
        assert (once_more.content, once_more.headers) == (one.content, one.headers)
    assert len(calls) == before
    assert [row["companyName"] for row in again.json()] == ["c0", "c1", "c2"]
    assert again.headers["x-total-count"] == "3"


async def test_two_tenants_at_one_address_each_have_their_own(cached: Gateway) -> None:
    tenants = ("north", "south", "west")
    clients = {tenant: cached.client("manager", tenant) for tenant in tenants}
    ids = {}
    for tenant, client in clients.items():
        ids[tenant] = (await client.post(URL, json={"companyName": f"only {tenant}"})).json()["id"]

    async def reads(tenant: str) -> None:
        for _ in range(20):
            rows = (await clients[tenant].get(URL)).json()
            assert [(row["companyName"], row["tenantId"]) for row in rows] == [(f"only {tenant}", tenant)]
            for other, theirs in ids.items():
                answer = await clients[tenant].get(f"{URL}/{theirs}")
                assert answer.status_code == (200 if other == tenant else 404)
                assert ("only" in answer.text) == (other == tenant)

    await asyncio.gather(*(reads(tenant) for tenant in tenants))
    assert len(cached.edge.bodies) == len(tenants)


async def test_what_one_role_may_read_is_not_shown_to_another(cached: Gateway) -> None:
    manager, agent = cached.client("manager"), cached.client("agent")
    record = (await manager.post(URL, json={"companyName": "audited"})).json()["id"]
    for _ in range(3):
        trail = await manager.get(f"{PREFIX}/audit")
        assert trail.status_code == 200
        assert record in trail.text
        entry = trail.json()[0]["id"]
        assert (await manager.get(f"{PREFIX}/audit/{entry}")).status_code == 200
        for path in ("audit", f"audit/{entry}"):
            refused = await agent.get(f"{PREFIX}/{path}")
            assert refused.status_code == 403
            assert record not in refused.text


async def test_users_of_one_tenant_see_their_own_notifications(cached: Gateway) -> None:
    ids = await people(cached, "ann", "bob")
    admin = cached.client("admin")
    clients = {name: cached.client("agent", user=user) for name, user in ids.items()}
    clients["admin"] = admin
    sent = {
        name: (
            await admin.post(f"{PREFIX}/notifications", json={"userId": user, "kind": "k", "title": f"for {name}"})
        ).json()["id"]
        for name, user in ids.items()
    }
    seen = {"ann": {"for ann"}, "bob": {"for bob"}, "admin": {"for ann", "for bob"}}

    async def reads(name: str) -> None:
        for _ in range(15):
            answer = await clients[name].get(f"{PREFIX}/notifications")
            assert {row["title"] for row in answer.json()} == seen[name]
            assert answer.headers["x-total-count"] == str(len(seen[name]))
            for whose, note in sent.items():
                expected = 200 if f"for {whose}" in seen[name] else 404
                assert (await clients[name].get(f"{PREFIX}/notifications/{note}")).status_code == expected
            many = await clients[name].get(
                f"{PREFIX}/notifications?" + "&".join(f"id={note}" for note in sent.values())
            )
            assert {row["title"] for row in many.json()} == seen[name]

    await asyncio.gather(*(reads(name) for name in clients))


async def test_a_write_is_seen_at_once_whoever_made_it(cached: Gateway) -> None:
    reader, writer = cached.client("viewer"), cached.client("manager")
    row = (await writer.post(URL, json={"companyName": "Old"})).json()
    crm = cached.app.services(Identity(new_id(), "north", "manager"))
    name, version = "Old", 1
    for turn in range(12):
        for _ in range(2):
            assert [found["companyName"] for found in (await reader.get(URL)).json()] == [name]
            one = await reader.get(f"{URL}/{row['id']}")
            assert (one.json()["companyName"], one.headers["etag"]) == (name, f'"{version}"')
            same = await reader.get(f"{URL}/{row['id']}", headers={"If-None-Match": one.headers["etag"]})
            assert (same.status_code, same.content) == (304, b"")
        name, version = f"New {turn}", version + 1
        change: dict[str, Any] = {"companyName": name}
        if turn % 4 == 0:
            assert (await writer.patch(f"{URL}/{row['id']}", json=change)).status_code == 200
        elif turn % 4 == 1:
            await crm.customers.update(row["id"], company_name=name)
        elif turn % 4 == 2:
            sent = {"verb": "update", "ids": [row["id"]], "patch": change}
            assert (await writer.post(f"{URL}/_bulk", json=sent)).status_code == 200
        else:
            member = {"method": "PATCH", "path": f"customers/{row['id']}", "body": change}
            told = await writer.post(f"{PREFIX}/batch", json=[member, {"path": f"customers/{row['id']}"}])
            assert told.json()[1]["body"]["companyName"] == name
    assert (await writer.delete(f"{URL}/{row['id']}")).status_code == 200
    assert (await reader.get(URL)).json() == []
    assert (await reader.get(f"{URL}/{row['id']}")).status_code == 404
    assert (await reader.get(f"{URL}/{row['id']}?_deleted=with")).status_code == 200


async def test_after_a_switch_no_page_of_the_old_backend_is_shown(cached: Gateway) -> None:
    client = cached.client()
    await client.post(URL, json={"companyName": "in memory"})
    for _ in range(3):
        assert len((await client.get(URL)).json()) == 1
    await cached.app.switch("customers", "sql")
    for _ in range(3):
        answer = await client.get(URL)
        assert (answer.json(), answer.headers["x-total-count"]) == ([], "0")


@pytest.mark.clock
async def test_a_token_that_has_expired_is_refused_though_its_answer_is_kept(
    cached: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = cached.client()
    for _ in range(3):
        assert (await client.get(URL)).status_code == 200
    later = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr(cached.app.verifier, "_now", later.timestamp)
    for _ in range(3):
        assert (await client.get(URL)).status_code == 401
        assert (await client.get(f"{URL}/{new_id()}")).status_code == 401


async def test_hits_count_against_the_limit_of_their_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async for found in opened(tmp_path, rate_limit=1, **LAYERS):
        monkeypatch.setattr(found.edge.calls, "_clock", lambda: 0.0)
        user = new_id()
        one, same, other = found.client(user=user), found.client("viewer", user=user), found.client()
        for client in (one, same):
            assert (await client.get(URL)).status_code == 200
        for client in (one, same):
            for path in (URL, f"{URL}/{new_id()}"):
                answer = await client.get(path)
                assert answer.status_code == 429
                assert int(answer.headers["retry-after"]) > 0
        assert (await other.get(URL)).status_code == 200


async def test_gets_of_one_batch_are_one_get_of_the_backend(calls: list[Request], cached: Gateway) -> None:
    writer = cached.client("manager")
    ids = [(await writer.post(URL, json={"companyName": f"c{place}"})).json()["id"] for place in range(20)]
    calls.clear()
    members = [{"path": f"customers/{one}"} for one in (*ids, new_id())]
    answer = await cached.client("viewer").post(f"{PREFIX}/batch", json=members)
    told = answer.json()
    assert [member["status"] for member in told] == [200] * 20 + [404]
    assert [member["body"]["companyName"] for member in told[:20]] == [f"c{place}" for place in range(20)]
    assert [(request.verb, len(request.ids)) for request in calls] == [("get", 21)]


async def test_a_batch_keeps_its_order_around_writes(calls: list[Request], cached: Gateway) -> None:
    writer = cached.client("manager")
    row = (await writer.post(URL, json={"companyName": "0"})).json()["id"]
    read = {"path": f"customers/{row}"}
    members: list[dict[str, Any]] = []
    for turn in range(1, 6):
        members += [read, read, {"method": "PATCH", "path": f"customers/{row}", "body": {"companyName": str(turn)}}]
    told = (await writer.post(f"{PREFIX}/batch", json=[*members, read])).json()
    names = [member["body"]["companyName"] for member in told]
    assert names == [str(turn // 3 + (turn % 3 == 2)) for turn in range(15)] + ["5"]


async def test_a_batch_with_a_bad_member_writes_nothing(cached: Gateway) -> None:
    client = cached.client()
    members = [{"method": "POST", "path": "customers", "body": {"companyName": "x"}}, {"path": "batch"}]
    assert (await client.post(f"{PREFIX}/batch", json=members)).status_code == 400
    assert (await client.get(URL)).json() == []


async def test_an_old_page_in_place_of_a_backend_that_is_away_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = MemoryBackend.handle
    away = False

    async def sometimes(self: MemoryBackend, request: Request) -> Response:
        if away:
            raise Unavailable("away")
        return await handle(self, request)

    monkeypatch.setattr(MemoryBackend, "handle", sometimes)
    async for found in opened(tmp_path, cache=True, cache_ttl=0.05, cache_stale=1000.0):
        client = found.client()
        assert (await client.post(URL, json={"companyName": "kept"})).status_code == 201
        fresh = await client.get(URL)
        assert "cache-status" not in fresh.headers
        away = True
        async with asyncio.timeout(PATIENCE):
            while "cache-status" not in (answer := await client.get(URL)).headers:
                assert (answer.status_code, answer.content) == (200, fresh.content)
        assert answer.headers["cache-status"] == "interlock; hit; detail=stale"
        assert (answer.status_code, answer.content) == (200, fresh.content)
        assert (await client.get(f"{URL}?_limit=1")).status_code == 503


# -- what is remembered -------------------------------------------------------------------------------------------


async def test_memory_is_bounded_and_forgets_what_nobody_asks_for() -> None:
    memory: Memory[int, bytes] = Memory(1000, len, lasts=0.001)
    for key in range(100):
        memory.put(key, bytes(90))
        assert len(memory) <= 11
    memory.put(1000, bytes(501))
    assert memory.get(1000) is None
    memory.put(1, bytes(5))
    memory.put(1, bytes(6))
    assert memory.get(1) == bytes(6)
    memory.drop(1)
    assert memory.get(1) is None
    async with asyncio.timeout(PATIENCE):
        while len(memory):  # noqa: ASYNC110 - memory tells nobody when it forgets
            await asyncio.sleep(0.001)


async def test_memory_keeps_what_is_asked_for() -> None:
    memory: Memory[int, int] = Memory(10)
    memory.put(0, 0)
    for key in range(1, 100):
        memory.put(key, key)
        assert memory.get(0) == 0
        assert len(memory) <= 10


async def test_a_body_is_of_one_tuple_of_rows_and_one_page_of_it() -> None:
    bodies = Bodies(most=10_000)
    row = {"a": 1}
    rows, like = (row,), (row,)
    bodies.put(Body(rows, 0, 1, None, []))
    found = bodies.get(rows, 0, 1, None)
    assert found is not None
    assert found.json == b'[{"a":1}]'
    assert bodies.get(like, 0, 1, None) is None
    for start, total, cursor in ((1, 1, None), (0, 2, None), (0, None, None), (0, 1, "next")):
        assert bodies.get(rows, start, total, cursor) is None
    for place in range(1000):
        bodies.put(Body((place,), 0, 1, None, []))
        assert len(bodies) < 10


async def test_bodies_that_are_never_asked_for_again_are_not_gathered() -> None:
    bodies = Bodies()
    for place in range(20_000):
        bodies.put(Body((place,), 0, 1, None, []))
    assert len(bodies) < 250
    rows = ("again",)
    tries = 0
    while bodies.get(rows, 0, 1, None) is None:
        bodies.put(Body(rows, 0, 1, None, []))
        tries += 1
        assert tries <= 1000
    for place in range(100):
        kept = Body((place,), 0, 1, None, [])
        bodies.put(kept)
        assert bodies.get(kept.rows, 0, 1, None) is kept


# -- with and without ---------------------------------------------------------------------------------------------

Told = tuple[int, list[tuple[bytes, bytes]], bytes]

CALLERS = {
    "admin": Identity("0190d2f1-0000-7000-8000-00000000000a", "north", "admin"),
    "ann": Identity("0190d2f1-0000-7000-8000-00000000000b", "north", "agent"),
    "bob": Identity("0190d2f1-0000-7000-8000-00000000000c", "north", "viewer"),
    "south": Identity("0190d2f1-0000-7000-8000-00000000000d", "south", "admin"),
}
LISTS = (
    "",
    "?_start=0&_end=2&_sort=companyName&_order=ASC",
    "?_limit=1",
    "?_limit=2&_offset=1&_count=exact",
    "?status=lead",
    "?_deleted=only",
    "?range=[0,1]&sort=[\"companyName\",\"DESC\"]",
    "?nope=1",
    "?_limit=0",
)  # fmt: skip
IDS = tuple(f"0190d2f1-0000-7000-8000-0000000001{place:02x}" for place in range(4))


class Both:
    """Two gateways that differ in their layers alone; every call goes to both."""

    def __init__(self, edges: Sequence[Edge], tokens: dict[str, bytes]) -> None:
        self.edges = edges
        self.tokens = tokens

    async def told(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> list[Told]:
        return [await self._ask(edge, who, method, path, body, headers) for edge in self.edges]

    async def _ask(self, edge: Edge, who: str, method: str, path: str, body: Any, headers: dict[str, str]) -> Told:
        plain, _, query = path.partition("?")
        sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": method,
            "path": PREFIX + plain,
            "query_string": query.encode(),
            "headers": [(b"authorization", self.tokens[who]), *sent],
        }
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"" if body is None else json.dumps(body).encode()}

        async def send(message: Any) -> None:
            messages.append(message)

        await edge(scope, receive, send)
        return messages[0]["status"], messages[0]["headers"], messages[1]["body"]


@asynccontextmanager
async def both(home: Path) -> AsyncIterator[Both]:
    now = datetime.now(UTC)
    async with AsyncExitStack() as stack:
        edges = []
        for layers in ({}, LAYERS):
            app = await App.open(
                Settings(home=home, rate_limit=0, login_limit=0, environment="production", **layers), clock=lambda: now
            )
            stack.push_async_callback(app.aclose)
            edges.append(create_app(app))
        tokens = {name: f"Bearer {app.issuer.mint(identity, 600)}".encode() for name, identity in CALLERS.items()}
        found = Both(edges, tokens)
        for name in ("ann", "bob"):
            user = {"id": CALLERS[name].user_id, "email": f"{name}@north.test", "displayName": name}
            assert [told[0] for told in await found.told("admin", "POST", "/users", user)] == [201, 201]
        for place, who in enumerate(("admin", "admin", "south")):
            row = {"id": f"{IDS[0][:-3]}2{place:02x}", "companyName": f"{who} {place}"}
            assert [told[0] for told in await found.told(who, "POST", "/customers", row)] == [201, 201]
        yield found


callers = st.sampled_from(tuple(CALLERS))
ids = st.sampled_from(IDS)
words = st.sampled_from(("Ada", "Bert", "Cleo"))
steps = st.one_of(
    st.tuples(st.just("list"), callers, st.sampled_from(LISTS)),
    st.tuples(st.just("list"), callers, st.sampled_from(LISTS)),
    st.tuples(st.just("one"), callers, ids),
    st.tuples(st.just("known"), callers, ids),
    st.tuples(st.just("many"), callers, ids),
    st.tuples(st.just("notes"), callers, ids),
    st.tuples(st.just("create"), callers, ids),
    st.tuples(st.just("note"), callers, ids),
    st.tuples(st.just("patch"), callers, st.tuples(ids, words)),
    st.tuples(st.just("delete"), callers, ids),
    st.tuples(st.just("restore"), callers, ids),
    st.tuples(st.just("batch"), callers, st.tuples(ids, words)),
)


def call_of(kind: str, given: Any) -> tuple[str, str, Any, dict[str, str]]:
    """Method, path, body and headers of a step."""
    match kind:
        case "list":
            return "GET", f"/customers{given}", None, {}
        case "one":
            return "GET", f"/customers/{given}", None, {}
        case "known":
            return "GET", f"/customers/{given}?_deleted=with", None, {"if_none_match": '"2"'}
        case "many":
            return "GET", f"/customers?id={given}&id={IDS[0]}", None, {}
        case "notes":
            return "GET", "/notifications", None, {}
        case "create":
            return "POST", "/customers", {"id": given, "companyName": "New", "status": "lead"}, {}
        case "note":
            whose = CALLERS["ann" if given in IDS[:2] else "bob"].user_id
            return "POST", "/notifications", {"id": given, "userId": whose, "kind": "k", "title": given}, {}
        case "patch":
            return "PATCH", f"/customers/{given[0]}", {"companyName": given[1]}, {}
        case "delete":
            return "DELETE", f"/customers/{given}", None, {}
        case "restore":
            return "POST", f"/customers/{given}/restore", None, {}
        case _:
            one = {"path": f"customers/{given[0]}"}
            patch = {"method": "PATCH", "path": f"customers/{given[0]}", "body": {"companyName": given[1]}}
            return "POST", "/batch", [one, {"path": "customers"}, {"path": "notifications"}, patch, one], {}


def test_cached_and_uncached_gateways_answer_byte_for_byte_alike(tmp_path: Path) -> None:
    bodies = 0

    async def compare(plan: list[Any]) -> None:
        nonlocal bodies
        async with both(tmp_path) as gateways:
            for kind, who, given in plan:
                method, path, body, headers = call_of(kind, given)
                for _ in range(3 if method == "GET" else 1):
                    plain, cached = await gateways.told(who, method, path, body, **headers)
                    assert cached == plain, (kind, who, given)
            assert not len(gateways.edges[0].bodies)
            bodies += len(gateways.edges[1].bodies)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(steps, min_size=10, max_size=40))
    def alike(plan: list[Any]) -> None:
        asyncio.run(compare(plan))

    alike()
    assert bodies > 40, "hardly anything was cached, so nothing was compared"
