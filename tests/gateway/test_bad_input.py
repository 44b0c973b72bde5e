"""Whatever is sent: a typed error that names the field, nothing written, never a 500."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.gateway.conftest import PREFIX, Gateway

from interlock.contract import Identity
from interlock.tokens import TokenIssuer

pytestmark = pytest.mark.anyio

URL = f"{PREFIX}/customers"

BODIES: list[tuple[str, str, int]] = [
    ('{"companyName": 5}', "companyName", 400),
    ('{"companyName": null}', "companyName", 400),
    ('{"companyName": ["a"]}', "companyName", 400),
    ('{"companyName": ""}', "companyName", 400),
    ("{}", "companyName", 400),
    ('{"companyName": "a", "colour": "red"}', "colour", 400),
    ('{"companyName": "a", "company_name": "b"}', "company_name", 400),
    ('{"companyName": "a", "__proto__": {"admin": true}}', "__proto__", 400),
    ('{"companyName": "a\\u0000b"}', "companyName", 400),
    ('{"companyName": "a\\ud800b"}', "companyName", 400),
    ('{"companyName": "a\\u0007b"}', "companyName", 400),
    ('{"companyName": "a", "notes": "' + "n" * 20_001 + '"}', "notes", 400),
    ('{"companyName": "a", "email": "nowhere"}', "email", 400),
    ('{"companyName": "a", "status": "asleep"}', "status", 400),
    ('{"companyName": "a", "location": {"lat": NaN, "lon": 0}}', "location.lat", 400),
    ('{"companyName": "a", "location": {"lat": Infinity, "lon": 0}}', "location.lat", 400),
    ('{"companyName": "a", "location": {"lat": 1e999, "lon": 0}}', "location", 400),
    ('{"companyName": "a", "location": {"lat": 91, "lon": 0}}', "location", 400),
    ('{"companyName": "a", "location": "here"}', "location", 400),
    ('{"companyName": "a", "tags": "vip"}', "tags", 400),
    ('{"companyName": "a", "tags": [1]}', "tags", 400),
    ('{"companyName": "a", "assignedTo": "01900000-0000-7000-8000-00000000dead"}', "assignedTo", 400),
    ('{"companyName": "a", "assignedTo": "\'; drop table users; --"}', "assignedTo", 400),
    ('{"companyName": "a", "id": "not-an-id"}', "id", 400),
    ('{"companyName": "a", "id": "../../etc/passwd"}', "id", 400),
    ('{"companyName": "a"', "body", 400),
    ('{"companyName": "a",}', "body", 400),
    ("[1, 2]", "body", 400),
    ('"text"', "body", 400),
    ("null", "body", 400),
    ("", "body", 400),
    ("[" * 100_000, "body", 400),
    ('{"a":' * 5000 + "1" + "}" * 5000, "body", 400),
    ('{"companyName": "' + "x" * 10_000_000 + '"}', "body", 413),
]


async def total(client: httpx.AsyncClient, resource: str = "customers") -> int:
    answer = await client.get(f"{PREFIX}/{resource}?_limit=1&_count=exact&_deleted=with")
    return int(answer.headers["x-total-count"])


def told(answer: httpx.Response, field: str, status: int = 400) -> None:
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert any(name == field or name.startswith(f"{field}.") for name in problem["errors"]), problem
    assert problem["message"]
    assert len(answer.content) < 10_000


@pytest.mark.parametrize(("body", "field", "status"), BODIES, ids=[f"{f}-{b[:40]}" for b, f, _ in BODIES])
async def test_bodies(gateway: Gateway, body: str, field: str, status: int) -> None:
    client = gateway.client()
    answer = await client.post(URL, content=body.encode(), headers={"Content-Type": "application/json"})
    told(answer, field, status)
    assert await total(client) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("startDate", "0000-01-01"),
        ("startDate", "10000-01-01"),
        ("startDate", "2026-02-30"),
        ("startDate", 20260101),
        ("signedAt", "0000-01-01T00:00:00Z"),
        ("signedAt", "10000-01-01T00:00:00Z"),
        ("signedAt", "2026-01-01T00:00:00"),
        ("signedAt", "0001-01-01T00:00:00+14:00"),
        ("signedAt", "yesterday"),
        ("value", "NaN"),
        ("value", "Infinity"),
        ("value", "1e30"),
        ("value", "0.00001"),
        ("value", "-1"),
        ("value", True),
        ("value", {"amount": 1}),
        ("currency", "euro"),
        ("title", "x" * 201),
    ],
)
async def test_dates_and_money(gateway: Gateway, field: str, value: Any) -> None:
    client = gateway.client()
    customer = (await client.post(URL, json={"companyName": "a"})).json()["id"]
    answer = await client.post(f"{PREFIX}/contracts", json={"customerId": customer, "title": "t", field: value})
    told(answer, field)
    assert await total(client, "contracts") == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("colour=red", "colour"),
        ("companyName_near=x", "companyName_near"),
        ("status=asleep", "status"),
        ("_start=-1", "_start"),
        ("_start=x", "_start"),
        ("_start=5&_end=5", "_end"),
        ("_start=0&_end=100000", "_end"),
        ("_sort=colour", "_sort"),
        ("_sort=location", "location"),
        ("_sort=companyName&_order=sideways", "_order"),
        ("_order=asc", "_order"),
        ("range=[0,9]&_start=0", "_start"),
        ('sort=["companyName","ASC"]&_limit=3', "_limit"),
        ("filter={}&status=active", "filter"),
        ("range=nonsense", "range"),
        ("range=[0]", "range"),
        ("range=[5,1]", "range"),
        ("range=[0,1e2]", "range"),
        ('sort=["colour","ASC"]', "sort"),
        ('sort=["companyName"]', "sort"),
        ("filter=[1]", "filter"),
        ('filter={"colour":1}', "colour"),
        ('filter={"companyName":{"$gt":""}}', "companyName"),
        ("filter=" + "[" * 2000, "filter"),
        ('_filter={"type":"condition","field":"companyName","op":"matches","value":"x"}', "companyName"),
        ('_filter={"type":"condition","field":"colour","op":"eq","value":"x"}', "colour"),
        ('_filter={"op":"eq"}', "_filter"),
        ("_filter=" + '{"type":"group","op":"and","items":[' * 30 + "]}" * 30, "_filter"),
        ("_limit=0", "_limit"),
        ("_limit=1001", "_limit"),
        ("_limit=x", "_limit"),
        ("_offset=99999999999999999999", "_offset"),
        ("_cursor=%00", "_cursor"),
        ("_cursor=bm90IGEgY3Vyc29y", "_cursor"),
        ("_count=all", "_count"),
        ("_deleted=maybe", "_deleted"),
        ("_near=here", "_near"),
        ("_near=91,0,5", "_near"),
        ("_near=nan,0,5", "_near"),
        ("_near=1,2,3&_sort=companyName", "_near"),
        ("q=%ff", "q"),
        ("q=%00", "q"),
        ("q=" + "x" * 501, "q"),
        ("companyName=%00", "companyName"),
        ("companyName=%ed%a0%80", "companyName"),
        ("createdAt_gte=10000-01-01T00:00:00Z", "createdAt"),
        ("_start=0&_start=1", "_start"),
    ],
)
async def test_queries(gateway: Gateway, query: str, field: str) -> None:
    told(await gateway.client().get(f"{URL}?{query}"), field)


@pytest.mark.parametrize(
    "text",
    ["'; drop table customers; --", '% _ , ( ) " \\ *', "a*b", "_", "%", "${7*7}", "{{7*7}}", "a,b.eq.c)", "\\u0000"],
)
async def test_metacharacters_are_literal(gateway: Gateway, text: str) -> None:
    client = gateway.client()
    await client.post(URL, json={"companyName": "plain"})
    wanted = (await client.post(URL, json={"companyName": f"x {text} y"})).json()["id"]
    for params in ({"q": text}, {"companyName_like": text}, {"filter": json.dumps({"q": text})}):
        answer = await client.get(URL, params=params)
        assert answer.status_code == 200, answer.text
        assert [row["id"] for row in answer.json()] == [wanted]


@pytest.mark.parametrize(
    ("headers", "content", "field"),
    [
        ({"Content-Type": "text/plain"}, b'{"companyName":"a"}', "Content-Type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"companyName=a", "Content-Type"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--", "Content-Type"),
        ({"Content-Type": "application/json; charset=utf-16"}, '{"companyName":"a"}'.encode("utf-16"), "Content-Type"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"\x1f\x8b", "Content-Encoding"),
    ],
)
async def test_wrong_media(gateway: Gateway, headers: dict[str, str], content: bytes, field: str) -> None:
    client = gateway.client()
    told(await client.post(URL, content=content, headers=headers), field, 415)
    assert await total(client) == 0


@pytest.mark.parametrize(
    "content", [b"\xff\xfe{\x00}\x00", b'{"companyName":"\xff"}', b'{"companyName":"\xed\xa0\x80"}']
)
async def test_bodies_that_are_not_utf8(gateway: Gateway, content: bytes) -> None:
    client = gateway.client()
    told(await client.post(URL, content=content, headers={"Content-Type": "application/json"}), "body")
    assert await total(client) == 0


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"If-Match": "three"}, "If-Match"),
        ({"If-Match": '"1", "2"'}, "If-Match"),
        ({"If-Match": '"99999999999999999999"'}, "If-Match"),
        ({"Idempotency-Key": "a b"}, "Idempotency-Key"),
        ({"Idempotency-Key": "x" * 256}, "Idempotency-Key"),
        ({"Idempotency-Key": ""}, "Idempotency-Key"),
    ],
)
async def test_headers(gateway: Gateway, headers: dict[str, str], field: str) -> None:
    client = gateway.client()
    row = (await client.post(URL, json={"companyName": "a"})).json()
    told(await client.patch(f"{URL}/{row['id']}", json={"city": "b"}, headers=headers), field)
    assert (await client.get(f"{URL}/{row['id']}")).json()["version"] == 1


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..", "a/b", "a\\b", "a\x00b", "a\nb", "x" * 256, "a\u202eb", "", "name."]
)
async def test_file_names(gateway: Gateway, name: str) -> None:
    client = gateway.client()
    told(await client.post(f"{PREFIX}/files", json={"name": name}), "name")
    assert await total(client, "files") == 0


@pytest.mark.parametrize(
    "path",
    [
        "/..%2f..%2fetc%2fpasswd",
        "/%00",
        "/%2e%2e",
        "/a%0d%0aX-Evil:1",
        "/" + "x" * 300,
        "/01900000-0000-7000-8000-00000000dead",
    ],
)
async def test_ids_in_paths(gateway: Gateway, path: str) -> None:
    client = gateway.client()
    for method in ("GET", "PATCH", "DELETE"):
        content = b"{}" if method == "PATCH" else b""
        answer = await client.request(method, f"{gateway.url}{URL}{path}", content=content)
        assert answer.status_code in (404, 405), answer.text[:200]
        assert "x-evil" not in answer.headers


def forged(claims: dict[str, Any], header: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    return f"{parts[0]}.{parts[1]}."


def confused(claims: dict[str, Any], issuer: TokenIssuer) -> str:
    """Signed with the public key as if it were a shared secret."""
    signed = forged(claims, {"alg": "HS256", "typ": "JWT", "kid": issuer.key_id})[:-1]
    mac = hmac.digest(json.dumps(issuer.public_jwk).encode(), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


async def test_tokens(gateway: Gateway) -> None:
    good = gateway.token()
    claims = jwt.decode(good, options={"verify_signature": False})
    head, body, signature = good.split(".")
    other = TokenIssuer.new().mint(Identity("u", "north", "admin"), 600)
    stolen = json.loads(base64.urlsafe_b64decode(body + "=="))
    stolen["app_metadata"]["tenant_id"] = "south"
    moved = base64.urlsafe_b64encode(json.dumps(stolen).encode()).rstrip(b"=").decode()
    bad = {
        "expired": gateway.token(ttl=-1),
        "unsigned": forged(claims, {"alg": "none", "typ": "JWT", "kid": gateway.app.issuer.key_id}),
        "another key": other,
        "another tenant": f"{head}.{moved}.{signature}",
        "hmac with the public key": confused(claims, gateway.app.issuer),
        "another key under our id": jwt.encode(
            claims,
            ec.generate_private_key(ec.SECP256R1()),
            algorithm="ES256",
            headers={"kid": gateway.app.issuer.key_id},
        ),
        "cut": good[:-10],
        "noise": "a.b.c",
        "long": "a" * 20_000,
    }
    for name, token in bad.items():
        async with httpx.AsyncClient(base_url=gateway.url, headers={"Authorization": f"Bearer {token}"}) as client:
            for method, path in (("GET", URL), ("POST", URL), ("GET", f"{URL}/x"), ("POST", f"{PREFIX}/batch")):
                answer = await client.request(method, path, content=b"[]" if method == "POST" else None)
                assert answer.status_code == 401, (name, answer.text)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["code"] == "unauthenticated"
                assert token not in answer.text
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        assert (await client.get(URL)).status_code == 401
        assert (await client.get(URL, headers={"Authorization": "Basic YTpi"})).status_code == 401


async def test_unknown_paths_and_methods(gateway: Gateway) -> None:
    client = gateway.client()
    for path in ("/nope", f"{PREFIX}/nope", f"{PREFIX}/credentials", f"{PREFIX}/credentials/x", f"{URL}/a/b/c", "//"):
        answer = await client.get(gateway.url + path)
        assert answer.status_code == 404, path
        assert answer.json()["code"] == "not_found"
    for path in (f"{PREFIX}/credentials", f"{PREFIX}/nope"):
        assert (await client.post(path, json={})).status_code == 404
    answer = await client.request("PURGE", URL)
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


async def test_an_unforeseen_error_tells_nothing(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret at /etc/interlock")

    monkeypatch.setattr(gateway.app, "services", broken)
    answer = await gateway.client().get(URL)
    assert answer.status_code == 500
    assert answer.json()["instance"].startswith("urn:uuid:")
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text
