"""The records of every entity over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.gateway.conftest import PREFIX, Gateway
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

URL = f"{PREFIX}/customers"


async def made(client: httpx.AsyncClient, **values: Any) -> dict[str, Any]:
    answer = await client.post(URL, json={"companyName": "Acme", **values})
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def test_create_answers_the_record_its_place_and_version(gateway: Gateway) -> None:
    client = gateway.client()
    answer = await client.post(
        URL, json={"companyName": "Åre", "id": None, "version": 9, "tenantId": "south", "createdAt": "x"}
    )
    row = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{URL}/{row['id']}"
    assert answer.headers["etag"] == '"1"'
    assert (row["companyName"], row["version"], row["tenantId"]) == ("Åre", 1, "north")
    assert (await client.get(answer.headers["location"])).json() == row


async def test_a_given_id_is_kept(gateway: Gateway) -> None:
    own = "01900000-0000-7000-8000-000000000001"
    assert (await made(gateway.client(), id=own))["id"] == own
    again = await gateway.client().post(URL, json={"companyName": "b", "id": own})
    assert (again.status_code, again.json()["field"], again.json()["existingId"]) == (409, "id", own)


async def test_versions(gateway: Gateway) -> None:
    client = gateway.client()
    row = await made(client)
    path = f"{URL}/{row['id']}"
    answer = await client.patch(path, json={"city": "Oslo"}, headers={"If-Match": '"1"'})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    answer = await client.put(path, json={"city": "Rome"}, headers={"If-Match": '"1"'})
    assert answer.status_code == 412
    assert answer.json()["code"] == "conflict"
    assert answer.json()["current"]["city"] == "Oslo"
    assert (await client.delete(path, headers={"If-Match": 'W/"1"'})).status_code == 412
    assert (await client.get(path, headers={"If-None-Match": '"2"'})).status_code == 304
    assert (await client.get(path, headers={"If-None-Match": '"1"'})).status_code == 200


async def test_put_is_partial_and_null_clears(gateway: Gateway) -> None:
    client = gateway.client()
    row = await made(client, city="Oslo", country="Norway")
    changed = (await client.put(f"{URL}/{row['id']}", json={**row, "city": None})).json()
    assert (changed["city"], changed["country"], changed["version"]) == (None, "Norway", 2)


async def test_delete_and_restore(gateway: Gateway) -> None:
    client = gateway.client()
    path = f"{URL}/{(await made(client))['id']}"
    gone = await client.delete(path)
    assert gone.status_code == 200
    assert gone.json()["deletedAt"]
    assert (await client.get(path)).status_code == 404
    assert (await client.delete(path)).status_code == 404
    assert (await client.get(f"{path}?_deleted=with")).status_code == 200
    assert (await client.get(f"{URL}?_deleted=only")).headers["x-total-count"] == "1"
    back = await client.post(f"{path}/restore")
    assert (back.status_code, back.json()["deletedAt"]) == (200, None)


async def test_the_same_key_writes_once(gateway: Gateway) -> None:
    client = gateway.client()
    headers = {"Idempotency-Key": "order-1"}
    body = {"companyName": "Acme", "id": "01900000-0000-7000-8000-000000000002"}
    first = await client.post(URL, json=body, headers=headers)
    again = await client.post(URL, json=body, headers=headers)
    assert first.json() == again.json()
    other = await client.post(URL, json={**body, "city": "Oslo"}, headers=headers)
    assert (other.status_code, other.json()["errors"].keys()) == (400, {"Idempotency-Key"})
    assert (await client.get(URL)).headers["x-total-count"] == "1"


async def test_a_duplicate_names_its_field(gateway: Gateway) -> None:
    client = gateway.client()
    first = await made(client, email="a@x.test")
    answer = await client.post(URL, json={"companyName": "b", "email": "A@X.TEST"})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (409, "duplicate", "email")
    assert problem["existingId"] == first["id"]
    assert problem["errors"].keys() == {"email"}


async def test_counts_and_pages(gateway: Gateway) -> None:
    client = gateway.client()
    for number in range(7):
        await made(client, companyName=f"C{number}", tags=["vip"] if number % 2 else ["vip", "new"])
    answer = await client.get(f"{URL}?_start=2&_end=5&_sort=companyName")
    assert [row["companyName"] for row in answer.json()] == ["C2", "C3", "C4"]
    assert answer.headers["x-total-count"] == "7"
    assert answer.headers["content-range"] == "customers 2-4/7"
    exposed = answer.headers["access-control-expose-headers"]
    assert "X-Total-Count" in exposed
    assert "Content-Range" in exposed
    past = await client.get(f"{URL}?range=[70,79]")
    assert (past.status_code, past.json(), past.headers["content-range"]) == (200, [], "customers */7")
    seen: list[str] = []
    cursor = ""
    while True:
        page = await client.get(f"{URL}?_limit=3&_sort=-companyName{cursor}")
        assert "x-total-count" not in page.headers
        seen += [row["companyName"] for row in page.json()]
        if "x-next-cursor" not in page.headers:
            break
        cursor = f"&_cursor={page.headers['x-next-cursor']}"
    assert seen == [f"C{number}" for number in range(6, -1, -1)]
    assert (await client.get(f"{URL}?tags=new")).headers["x-total-count"] == "4"
    assert (await client.get(URL, params={"filter": '{"tags":["vip","new"]}'})).headers["x-total-count"] == "4"
    assert (await client.get(f"{URL}?tags_inc_any=new&tags_inc_any=vip")).headers["x-total-count"] == "7"
    assert (await client.head(f"{URL}?_start=0&_end=1")).headers["x-total-count"] == "7"


async def test_operators(gateway: Gateway) -> None:
    client = gateway.client()
    for name, city in (("a", "Oslo"), ("b", "Rome"), ("c", None), ("d_e", "Oslo")):
        await made(client, companyName=name, city=city)

    async def names(query: str) -> list[str]:
        answer = await client.get(f"{URL}?_sort=companyName&_order=asc&{query}")
        assert answer.status_code == 200, answer.text
        return [row["companyName"] for row in answer.json()]

    assert await names("city=Oslo") == ["a", "d_e"]
    assert await names("city=Oslo&city=Rome") == ["a", "b", "d_e"]
    assert await names("city_in=Oslo,Rome") == ["a", "b", "d_e"]
    assert await names("city_eq_any=Rome") == ["b"]
    assert await names("city_neq_any=Rome&city_neq_any=Bern") == ["a", "d_e"]
    assert await names("city_ne=Oslo") == ["b"]
    assert await names("city_is_null=true") == ["c"]
    assert await names("city") == ["c"]
    assert await names("companyName_gt=a&companyName_lte=c") == ["b", "c"]
    assert await names("companyName_between=a,b") == ["a", "b"]
    assert await names("companyName_like=_") == ["d_e"]
    assert await names("companyName_startswith=d") == ["d_e"]
    assert await names("version_gte=1&createdAt_lt=2999-01-01T00:00:00Z") == ["a", "b", "c", "d_e"]
    assert await names("ids[0]=x&q=a") == []


async def test_many_ids_have_no_page(gateway: Gateway) -> None:
    client = gateway.client()
    answer = await client.post(
        f"{URL}/_bulk", json={"verb": "create", "rows": [{"companyName": f"C{n}"} for n in range(120)]}
    )
    ids = [outcome["id"] for outcome in answer.json()["outcomes"]]
    for query in ("&".join(f"id={item}" for item in ids), "&".join(f"ids[{n}]={item}" for n, item in enumerate(ids))):
        assert [row["id"] for row in (await client.get(f"{URL}?{query}")).json()] == ids
    answer = await client.get(URL, params={"filter": json.dumps({"id": ids})})
    assert [row["id"] for row in answer.json()] == ids


async def test_bulk(gateway: Gateway) -> None:
    client = gateway.client()
    a, b = await made(client, email="a@x.test"), await made(client)
    missing = "01900000-0000-7000-8000-00000000dead"

    async def bulk(**body: Any) -> list[tuple[str, int | None]]:
        answer = await client.post(f"{URL}/_bulk", json=body)
        assert answer.status_code == 200, answer.text
        return [(o["id"], o["error"] and o["error"]["status"]) for o in answer.json()["outcomes"]]

    assert await bulk(verb="update", ids=[a["id"], missing, b["id"]], patch={"city": "Rome"}) == [
        (a["id"], None), (missing, 404), (b["id"], None),
    ]  # fmt: skip
    assert await bulk(verb="update", ids=[a["id"], b["id"]], patch={"city": "Bern"}, expectedVersion=9) == [
        (a["id"], 412), (b["id"], 412),
    ]  # fmt: skip
    assert await bulk(verb="delete", ids=[a["id"], missing]) == [(a["id"], None), (missing, 404)]
    assert await bulk(verb="restore", ids=[a["id"], missing]) == [(a["id"], None), (missing, 404)]
    outcomes = (
        await client.post(
            f"{URL}/_bulk",
            json={
                "verb": "create",
                "rows": [
                    {"companyName": "x"},
                    {"companyName": 5},
                    {"colour": 1},
                    7,
                    {"companyName": "y", "email": "a@x.test"},
                ],
            },
        )
    ).json()["outcomes"]
    assert [o["error"] and sorted(o["error"]["errors"]) for o in outcomes] == [
        None, ["companyName"], ["colour", "companyName"], ["rows"], ["email"],
    ]  # fmt: skip
    rows = (await client.post(f"{URL}/_bulk", json={"verb": "get", "ids": [b["id"], missing, a["id"]]})).json()["rows"]
    assert [row["id"] for row in rows] == [b["id"], a["id"]]


async def test_aggregate(gateway: Gateway) -> None:
    client = gateway.client()
    for city in ("Oslo", "Oslo", "Rome"):
        await made(client, city=city)
    answer = await client.post(
        f"{URL}/_aggregate",
        json={
            "filter": {"type": "condition", "field": "companyName", "op": "eq", "value": "Acme"},
            "groupBy": [{"field": "city"}],
            "measures": [{"op": "count"}, {"op": "max", "field": "version"}],
        },
    )
    assert answer.json() == {"groups": [{"key": ["Oslo"], "values": [2, 1]}, {"key": ["Rome"], "values": [1, 1]}]}


async def test_put_is_for_the_system_alone(gateway: Gateway) -> None:
    row = await made(gateway.client())
    body = {"rows": [{**row, "city": "Oslo", "version": 7}], "sequence": 1}
    assert (await gateway.client().post(f"{URL}/_put", json=body)).status_code == 403
    system = gateway.client("system")
    assert (await system.post(f"{URL}/_put", json=body)).json()["outcomes"][0]["row"]["version"] == 7
    again = (await system.post(f"{URL}/_put", json=body)).json()["outcomes"][0]
    assert (again["row"], again["error"]) == (None, None)
    other = await gateway.client("system", "south").post(f"{URL}/_put", json=body)
    assert (other.status_code, other.json()["errors"].keys()) == (400, {"tenantId"})


async def test_roles(gateway: Gateway) -> None:
    row = await made(gateway.client())
    viewer, agent = gateway.client("viewer"), gateway.client("agent")
    assert (await viewer.get(URL)).status_code == 200
    assert (await viewer.post(URL, json={"companyName": "x"})).status_code == 403
    assert (await agent.delete(f"{URL}/{row['id']}")).status_code == 403
    assert (await agent.post(f"{URL}/_bulk", json={"verb": "delete", "ids": [row["id"]]})).status_code == 403
    assert (
        await agent.post(f"{URL}/_bulk", json={"verb": "delete", "ids": [row["id"]], "expectedVersion": 1})
    ).status_code == 403
    assert (await agent.get(f"{PREFIX}/_status")).status_code == 403
    assert (await agent.post(f"{PREFIX}/_switch", json={"service": "sales", "backend": "sql"})).status_code == 403
    assert (await agent.get(f"{PREFIX}/audit")).status_code == 403


async def test_actions(gateway: Gateway) -> None:
    client = gateway.client()
    a, b = await made(client, industry="Tools"), await made(client, city="Oslo")
    tally = await client.post(f"{URL}/actions/industries")
    assert tally.json() == [{"value": "Tools", "count": 1}]
    merged = await client.post(f"{URL}/actions/merge", json={"winner": a["id"], "losers": [b["id"]]})
    assert merged.json()["winner"]["city"] == "Oslo"
    wrong = await client.post(f"{URL}/actions/nearby", json={"lat": "x", "lon": 1, "far": 2})
    assert (wrong.status_code, wrong.json()["errors"].keys()) == (400, {"lat", "far", "km"})
    assert (await client.post(f"{URL}/actions/explode")).status_code == 404
    near = await client.post(f"{URL}/actions/nearby", json={"lat": 1.5, "lon": 2, "km": 5})
    assert near.json() == {"items": [], "total": 0, "nextCursor": None}


async def test_batch(gateway: Gateway) -> None:
    client = gateway.client("agent")
    row = await made(client)
    answer = await client.post(
        f"{PREFIX}/batch",
        json=[
            {"path": f"customers/{row['id']}"},
            {"method": "POST", "path": f"{URL}", "body": {"companyName": "in batch"}},
            {"method": "PATCH", "path": f"{URL}/{row['id']}", "headers": {"If-Match": '"1"'}, "body": {"city": "Oslo"}},
            {"method": "PATCH", "path": f"{URL}/{row['id']}", "headers": {"If-Match": '"1"'}, "body": {"city": "Rome"}},
            {"method": "DELETE", "path": f"{URL}/{row['id']}"},
            {"path": f"{URL}?_start=0&_end=1&_sort=companyName"},
            {"path": f"{URL}/{row['id']}", "headers": {"Authorization": "Bearer nonsense"}},
            {"path": f"{URL}/{row['id']}", "headers": {"Authorization": f"Bearer {gateway.token('admin', 'south')}"}},
        ],
    )
    assert answer.status_code == 200, answer.text
    members = answer.json()
    assert [member["status"] for member in members] == [200, 201, 200, 412, 403, 200, 401, 404]
    assert members[2]["headers"]["etag"] == '"2"'
    assert members[5]["headers"]["x-total-count"] == "2"
    wrong: tuple[Any, ...] = (
        [{"path": "batch"}],
        [{"path": "customers/changes"}],
        [{}] * 51,
        {"path": "x"},
        [7],
        [{"method": "TRACE"}],
    )
    for bad in wrong:
        assert (await client.post(f"{PREFIX}/batch", json=bad)).status_code == 400


async def test_changes(gateway: Gateway) -> None:
    client, other = gateway.client(), gateway.client("admin", "south")
    async with client.stream("GET", f"{URL}/changes") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        lines = stream.aiter_lines()
        await anext(lines)
        await made(other, companyName="theirs")
        first, second = await made(client, companyName="one"), await made(client, companyName="two")
        events = await events_of(lines, 2)
    assert [(e["event"], e["data"]["recordId"]) for e in events] == [
        ("created", first["id"]),
        ("created", second["id"]),
    ]
    assert events[0]["data"]["row"]["companyName"] == "one"
    async with client.stream("GET", f"{URL}/changes", headers={"Last-Event-ID": events[0]["id"]}) as stream:
        (again,) = await events_of(stream.aiter_lines(), 1)
    assert again == events[1]
    assert (await gateway.bearer(None).get(f"{URL}/changes")).status_code == 401
    assert (await client.get(f"{PREFIX}/nope/changes")).status_code == 404


async def events_of(lines: Any, wanted: int) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    event: dict[str, Any] = {}
    async with asyncio.timeout(PATIENCE):
        async for line in lines:
            name, _, value = line.partition(": ")
            if name in ("id", "event"):
                event[name] = value
            elif name == "data":
                event[name] = json.loads(value)
            elif not line and "data" in event:
                events.append(event)
                event = {}
                if len(events) == wanted:
                    break
    return events


async def test_other_origins(gateway: Gateway) -> None:
    client = gateway.bearer(None)
    asked = await client.options(URL, headers={"Origin": "http://app.test", "Access-Control-Request-Method": "PATCH"})
    assert asked.status_code == 204
    assert "PATCH" in asked.headers["access-control-allow-methods"]
    assert "If-Match" in asked.headers["access-control-allow-headers"]
    refused = await client.get(URL, headers={"Origin": "http://app.test"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")
