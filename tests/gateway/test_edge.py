"""Log-in, limits, health, metrics and switches."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import jwt
import pytest
from tests.gateway.conftest import PREFIX, Gateway
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

PASSWORD = "interlock-demo"


@pytest.mark.clock
async def test_log_in_refresh_and_log_out(demo: Gateway) -> None:
    nobody = demo.bearer(None)
    answer = await nobody.post(f"{PREFIX}/auth/login", json={"email": "agent@acme.test", "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    session = answer.json()
    assert session["user"]["role"] == "agent"
    assert 0 < session["expiresIn"] <= 900
    assert answer.headers["cache-control"] == "no-store"
    client = demo.bearer(session["accessToken"])
    assert (await client.get(f"{PREFIX}/auth/me")).json()["email"] == "agent@acme.test"
    assert int((await client.get(f"{PREFIX}/customers")).headers["x-total-count"]) > 0
    renewed = await nobody.post(f"{PREFIX}/auth/refresh", json={"refreshToken": session["refreshToken"]})
    assert renewed.status_code == 200
    spent = await nobody.post(f"{PREFIX}/auth/refresh", json={"refreshToken": session["refreshToken"]})
    assert spent.status_code == 401
    again = (await nobody.post(f"{PREFIX}/auth/login", json={"email": "agent@acme.test", "password": PASSWORD})).json()
    out = await demo.bearer(again["accessToken"]).post(
        f"{PREFIX}/auth/logout", json={"refreshToken": again["refreshToken"]}
    )
    assert out.status_code == 200
    over = await nobody.post(f"{PREFIX}/auth/refresh", json={"refreshToken": again["refreshToken"]})
    assert over.status_code == 401


async def test_a_wrong_password_and_an_unknown_user_are_told_alike(demo: Gateway) -> None:
    nobody = demo.bearer(None)
    answers = [
        await nobody.post(f"{PREFIX}/auth/login", json={"email": email, "password": "wrong-password"})
        for email in ("agent@acme.test", "nobody@acme.test")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()
    for body in ({}, {"email": "a@x.test"}, {"email": 5, "password": "x"}, {"email": "a\u0000", "password": "x"}):
        assert (await nobody.post(f"{PREFIX}/auth/login", json=body)).status_code in (400, 401)
    for path in ("magic-link", "password-reset"):
        known = await nobody.post(f"{PREFIX}/auth/{path}", json={"email": "agent@acme.test"})
        unknown = await nobody.post(f"{PREFIX}/auth/{path}", json={"email": "nobody@acme.test"})
        assert (known.status_code, known.content) == (unknown.status_code, unknown.content)


async def test_attempts_to_log_in_are_limited(limited: Gateway) -> None:
    nobody = limited.bearer(None)
    statuses = []
    for number in range(6):
        answer = await nobody.post(f"{PREFIX}/auth/login", json={"email": f"{number}@x.test", "password": "wrong"})
        statuses.append(answer.status_code)
    assert statuses[-1] == 429
    assert statuses.count(429) == 3
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["retryAfter"] > 0


async def test_calls_are_limited_by_caller(limited: Gateway) -> None:
    one, other = limited.client(), limited.client()
    answers = await asyncio.gather(*[one.get(f"{PREFIX}/customers") for _ in range(40)])
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) >= 10
    assert 429 in statuses
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["code"] == "rate_limited"
    assert int(refused.headers["retry-after"]) >= 1
    assert (await other.get(f"{PREFIX}/customers")).status_code == 200


async def test_bodies_and_addresses_are_bounded(limited: Gateway) -> None:
    client = limited.client()
    body = await client.post(f"{PREFIX}/customers", json={"companyName": "a", "notes": "n" * 3000})
    assert (body.status_code, body.json()["errors"].keys()) == (413, {"body"})
    address = await client.get(f"{PREFIX}/customers?q={'x' * 61_000}")
    assert address.status_code == 414


async def test_health(gateway: Gateway) -> None:
    nobody = gateway.bearer(None)
    for path in ("/livez", "/readyz", "/startupz", "/health"):
        answer = await nobody.get(path)
        assert (answer.status_code, answer.json()["status"]) == (200, "pass"), path
        assert answer.headers["content-type"] == "application/health+json"
    checks = (await nobody.get("/health")).json()["checks"]
    assert checks["mock:responseTime"][0]["componentType"] == "datastore"


async def test_metrics_name_no_tenant_and_no_id(gateway: Gateway) -> None:
    client = gateway.client()
    row = (await client.post(f"{PREFIX}/customers", json={"companyName": "Acme"})).json()
    await client.get(f"{PREFIX}/customers/{row['id']}")
    await client.get("/no/such/place")
    text = (await gateway.bearer(None).get("/metrics")).text
    assert (
        '_count{http_request_method="GET",http_response_status_code="200",http_route="/api/v1/{resource}/{id}"} 1'
        in text
    )
    assert 'http_route="unmatched"' in text
    for secret in ("north", row["id"], "Acme", "no/such"):
        assert secret not in text


async def test_the_routes_have_a_page(gateway: Gateway) -> None:
    answer = await gateway.bearer(None).get("/docs")
    assert answer.status_code == 200
    assert "/api/v1/customers/{id}" in answer.text
    assert "<script" not in answer.text


async def test_anybody_can_check_our_tokens(gateway: Gateway) -> None:
    keys = (await gateway.bearer(None).get("/.well-known/jwks.json")).json()["keys"]
    key = jwt.PyJWK.from_dict(keys[0]).key
    claims = jwt.decode(gateway.token(), key, algorithms=["ES256"], audience="interlock")
    assert claims["app_metadata"]["tenant_id"] == "north"
    assert all("d" not in key for key in keys)


async def test_no_tenant_s_admin_turns_the_routes_of_all(gateway: Gateway) -> None:
    body = {"service": "tickets", "backend": "sql"}
    answer = await gateway.client("admin").post(f"{PREFIX}/_switch", json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert gateway.app.router.route("tickets").backend_name == "mock"


async def test_a_switch_while_serving(gateway: Gateway) -> None:
    client = gateway.client("system")
    await client.post(f"{PREFIX}/customers", json={"companyName": "on mock"})
    switched = await client.post(f"{PREFIX}/_switch", json={"service": "tickets", "backend": "mock"})
    assert switched.status_code == 200, switched.text
    assert switched.json()["backend"] == "mock"
    rows = (await client.get(f"{PREFIX}/_status")).json()
    assert {row["service"]: row["epoch"] for row in rows}["tickets"] == switched.json()["epoch"]
    for body, field in (
        ({"service": "nope", "backend": "mock"}, "service"),
        ({"service": "sales", "backend": "nope"}, "backend"),
        ({"service": "sales"}, "backend"),
        ({"service": 5, "backend": "mock"}, "service"),
    ):
        answer = await client.post(f"{PREFIX}/_switch", json=body)
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


SERVE = """
import asyncio, sys
from pathlib import Path
from interlock.app import App
from interlock.gateway import serve
from interlock.settings import Settings

async def main():
    app = await App.open(Settings(home=Path(sys.argv[1]), environment="production"))
    try:
        await serve(app, port=int(sys.argv[2]))
    finally:
        await app.aclose()
        print("closed", flush=True)

asyncio.run(main())
"""


async def test_sigterm_ends_it_cleanly_though_somebody_listens(tmp_path: Path, gateway: Gateway) -> None:
    from interlock.contract import Identity
    from interlock.ports import free_port
    from interlock.tokens import TokenIssuer

    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVE,
        str(tmp_path),
        str(port),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ},
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        if (await client.get("/readyz")).status_code == 200:
                            break
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
            token = TokenIssuer.from_directory(tmp_path / "keys").mint(Identity("u", "north", "admin"), 60)
            headers = {"Authorization": f"Bearer {token}"}
            async with client.stream("GET", f"{PREFIX}/customers/changes", headers=headers) as stream:
                lines = stream.aiter_lines()
                await anext(lines)
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(PATIENCE):
                    async for _ in lines:
                        pass
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    assert out.decode().strip() == "closed"
    assert "Traceback" not in err.decode()
