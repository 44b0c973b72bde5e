"""One tenant's valid token reads and changes nothing of another's: every operation of the OpenAPI is tried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.gateway.conftest import PREFIX, Gateway

from interlock.abilities import StoresFiles
from interlock.contract import Identity, Query, Request

pytestmark = pytest.mark.anyio

RESOURCES = ("customers", "tags", "stages", "deals", "tickets", "comments", "contracts", "notifications", "files")
MARK = "north-only"


async def planted(client: httpx.AsyncClient, user: str) -> dict[str, str]:
    """One record of every resource, each with a mark; the id of each."""
    made: dict[str, str] = {}

    async def make(resource: str, **values: Any) -> str:
        answer = await client.post(f"{PREFIX}/{resource}", json=values)
        assert answer.status_code == 201, answer.text
        made[resource] = answer.json()["id"]
        return made[resource]

    made["users"] = user
    customer = await make("customers", companyName=MARK, email=f"{MARK}@x.test", location={"lat": 1, "lon": 1})
    await make("tags", name=MARK)
    stage = await make("stages", label=MARK)
    await make("deals", title=MARK, customerId=customer, stageId=stage, amount="10")
    ticket = await make("tickets", subject=MARK, customerId=customer)
    await make("comments", ticketId=ticket, body=MARK)
    await make("contracts", title=MARK, customerId=customer)
    await make("notifications", userId=user, kind="k", title=MARK)
    file = await make("files", name=f"{MARK}.txt", ownerResource="customers", ownerId=customer)
    assert (await client.put(f"{PREFIX}/files/{file}/content", content=MARK.encode())).status_code == 200
    trail = await client.get(f"{PREFIX}/audit?_limit=1")
    made["audit"] = trail.json()[0]["id"]
    return made


async def snapshot(gateway: Gateway, tenant: str, files: str) -> Any:
    """Everything that the tenant has, as the backends hold it."""
    identity = Identity("system", tenant, "system")
    held: dict[str, Any] = {}
    for entity in gateway.app.entities.values():
        route = gateway.app.router.route(entity.service)
        query = Query(limit=1000, deleted="with")
        answer = await route.handle(Request("find", entity.resource, identity, query=query))
        held[entity.resource] = answer.rows
    store = gateway.app.router.route("files").ability(StoresFiles)
    held["bytes"] = b"".join([chunk async for chunk in store.read_blob(identity, files)])
    return held


def bodies(path: str, made: dict[str, str], resource: str) -> Iterator[Any]:
    """What an attacker would send: the other tenant's ids, wherever an id may stand."""
    own = made.get(resource, made["customers"])
    other = {
        "companyName": "taken", "name": "taken.txt", "label": "taken", "title": "taken", "subject": "taken",
        "body": "taken", "kind": "k", "email": "taken@x.test", "displayName": "taken",
    }  # fmt: skip
    references = {
        "customerId": made["customers"], "stageId": made["stages"], "ticketId": made["tickets"],
        "userId": made["users"], "assignedTo": made["users"], "ownerResource": "customers", "ownerId": made["customers"],
    }  # fmt: skip
    if path.endswith("/_bulk"):
        for verb in ("update", "delete", "restore", "get"):
            yield {"verb": verb, "ids": [own], "patch": {}, "deleted": "with"}
            yield {"verb": verb, "ids": [own], "patch": {}, "expectedVersion": 1}
        yield {"verb": "create", "rows": [{**other, "id": own, "tenantId": "north"}]}
    elif path.endswith("/_put"):
        yield {"rows": [{"id": own, "tenantId": "north", "version": 9, **other}], "sequence": 99}
    elif path.endswith("/_aggregate"):
        yield {"groupBy": [{"field": "id"}], "deleted": "with"}
    elif path.endswith("/_find"):
        yield {"_limit": "1000", "_deleted": "with"}
        yield {"id": own}
    elif path.endswith("/batch"):
        yield [{"path": f"{PREFIX}/{name}/{made[name]}?_deleted=with"} for name in made]
        yield [{"method": "DELETE", "path": f"{PREFIX}/{name}/{made[name]}"} for name in made]
        yield [{"method": "PATCH", "path": f"{PREFIX}/{name}/{made[name]}", "body": {}} for name in made]
    elif "/actions/" in path:
        yield {}
        yield {"id": own}
        customers = made["customers"]
        yield {"id": made["tickets"], "body": "taken"}
        yield {"id": made["deals"], "stageId": made["stages"]}
        yield {"id": made["customers"], "names": ["taken"]}
        yield {"id": made["users"], "role": "viewer"}
        yield {"id": made["contracts"], "months": 3}
        yield {"winner": customers, "losers": [made["users"]]}
        yield {"resource": "customers", "id": customers}
        yield {"lat": 1, "lon": 1, "km": 5}
    elif path.endswith("/signed-url"):
        yield {"expires": 60}
    else:
        yield {**other, **references, "id": own, "tenantId": "north", "version": 1, "createdBy": made["users"]}
        yield {"companyName": "taken", "tenantId": "north"}
        yield {}


@pytest.mark.parametrize("role", ["admin", "viewer"])
async def test_every_operation_with_another_tenants_token(gateway: Gateway, role: str) -> None:
    admin = gateway.client("admin", "north")
    invited = await admin.post(
        f"{PREFIX}/users", json={"email": f"{MARK}@x.test", "displayName": MARK, "role": "admin"}
    )
    user = invited.json()["id"]
    made = await planted(gateway.client("admin", "north", user=user), user)
    before = await snapshot(gateway, "north", made["files"])
    secrets = {MARK, *made.values()}
    thief = gateway.client(role, "south")
    document = (await thief.get("/openapi.json")).json()
    operations = calls = 0
    for path, methods in document["paths"].items():
        resource = path.removeprefix(f"{PREFIX}/").partition("/")[0]
        if path.endswith("/_switch") or path.endswith("/changes"):
            continue  # a switch belongs to no tenant; changes have a test of their own
        for method in methods:
            operations += 1
            asked = path.replace("{id}", made.get(resource, made["customers"]))
            for headers in ({}, {"X-Tenant-Id": "north", "X-Forwarded-User": user}):
                for body in bodies(path, made, resource) if method in ("post", "put", "patch") else (None,):
                    calls += 1
                    content = None if body is None else json.dumps(body).encode()
                    if path.endswith("/content"):
                        content = b"taken" if method == "put" else None
                    answer = await thief.request(method.upper(), asked, content=content, headers=headers)
                    assert answer.status_code < 500, (method, asked, answer.text[:500])
                    check_tells_nothing(answer, secrets, asked, content)
    assert operations > 150
    assert calls > 400
    assert await snapshot(gateway, "north", made["files"]) == before


def check_tells_nothing(answer: httpx.Response, secrets: set[str], asked: str, content: bytes | None) -> None:
    """Nothing of the other tenant's comes back, but what the caller sent themselves in a problem's text."""
    sent = asked.encode() + (content or b"")
    for secret in secrets:
        if secret.encode() in answer.content:
            assert secret.encode() in sent, (asked, answer.text[:500])
    assert MARK.encode() not in answer.content, (asked, answer.text[:500])


async def test_lists_searches_and_ids(gateway: Gateway) -> None:
    user = (
        await gateway.client().post(f"{PREFIX}/users", json={"email": "n@x.test", "displayName": MARK, "role": "admin"})
    ).json()["id"]
    made = await planted(gateway.client(user=user), user)
    thief = gateway.client("admin", "south")
    for resource, own in made.items():
        for query in (
            f"id={own}",
            f"id={own}&id={own}&_deleted=with",
            f'filter={{"id":["{own}"]}}',
            "_start=0&_end=1000",
            "range=[0,999]",
            "_limit=1000&_count=exact&_deleted=with",
            "tenantId=north",
            'filter={"tenantId":"north"}',
        ):
            answer = await thief.get(f"{PREFIX}/{resource}?{query}")
            assert answer.status_code == 200, answer.text
            rows = [row for row in answer.json() if row["tenantId"] != "south"]
            assert rows == []
            assert MARK not in answer.text
        if resource in ("customers", "deals", "tickets"):
            answer = await thief.get(f"{PREFIX}/{resource}?q={MARK}")
            assert answer.headers["x-total-count"] == "0"
        assert (await thief.get(f"{PREFIX}/{resource}/{own}")).status_code == 404


async def test_an_id_of_another_tenant_can_be_used_here_too(gateway: Gateway) -> None:
    """Whether an id is taken elsewhere must not be told."""
    mine = (await gateway.client().post(f"{PREFIX}/customers", json={"companyName": MARK})).json()
    thief = gateway.client("admin", "south")
    theirs = await thief.post(f"{PREFIX}/customers", json={"id": mine["id"], "companyName": "theirs"})
    assert theirs.status_code == 201
    assert (await gateway.client().get(f"{PREFIX}/customers/{mine['id']}")).json() == mine


async def test_signed_addresses_are_bound_to_tenant_file_and_time(gateway: Gateway) -> None:
    client = gateway.client()
    ids = []
    for name in ("a.txt", "b.txt"):
        ids.append((await client.post(f"{PREFIX}/files", json={"name": name})).json()["id"])
        await client.put(f"{PREFIX}/files/{ids[-1]}/content", content=name.encode())
    address = (await client.post(f"{PREFIX}/files/{ids[0]}/signed-url", json={"expires": 60})).json()["url"]
    nobody = gateway.bearer(None)
    assert (await nobody.get(address)).content == b"a.txt"
    signature = address.partition("signature=")[2]
    until, tenant, mac = signature.split(".")
    for path, changed in (
        (ids[1], signature),
        (ids[0], f"{int(until) + 1}.{tenant}.{mac}"),
        (ids[0], f"{until}.c291dGg.{mac}"),
        (ids[0], f"{until}.{tenant}.{'A' * len(mac)}"),
        (ids[0], f"{until}.{tenant}"),
        (ids[0], "x.y.z"),
        (ids[0], ""),
        (ids[0], gateway.edge.signer.sign("north", ids[0], -1)),
        (ids[0], gateway.edge.signer.sign("south", ids[1], 60)),
    ):
        answer = await nobody.get(f"{PREFIX}/files/{path}/content", params={"signature": changed})
        assert answer.status_code == 401, changed
    south = gateway.edge.signer.sign("south", ids[0], 60)
    assert (await nobody.get(f"{PREFIX}/files/{ids[0]}/content?signature={south}")).status_code == 404
    assert (await nobody.get(f"{PREFIX}/files/{ids[0]}?signature={signature}")).status_code in (400, 401)
