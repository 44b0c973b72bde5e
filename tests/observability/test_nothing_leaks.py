"""A full run with logs, metrics, traces and reports on, and errors on purpose: nothing that went in comes out where it should not."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.observability.listening import Listener, listening
from tests.patience import PATIENCE
from tests.running import started

from interlock.app import App
from interlock.backends.memory import MemoryBackend
from interlock.backends.sql import SqlBackend
from interlock.contract import Request, Response
from interlock.errors import Unavailable
from interlock.gateway import create_app
from interlock.gateway.server import serving
from interlock.observability.logs import configure, log_unhandled
from interlock.seed import seed_demo
from interlock.services.customers import Customers
from interlock.settings import Settings

pytestmark = pytest.mark.anyio

PASSWORD = "interlock-demo"
KEY = "5e6b1f0c9a7d4e2f8b3a6c5d4e3f2a1b"
PLANTED = {
    "an e-mail address": "wilhelmina.planted@private-mail.test",
    "a phone number": "+49 171 5550199",
    "a name": "Wilhelmina Planted",
    "a password": "correct-horse-battery",
    "a key": "sk-live-0a9s8d7f6g5h4j3k2l",
    "a note": "is about to be divorced",
    "a token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXBsYW50ZWQ",
}
MAIL, PHONE, NAME, WORD, LIVE, NOTE, TOKEN = PLANTED.values()
PREFIX = "/api/v1"


def found_in(text: str, secrets: dict[str, str]) -> list[str]:
    """The secrets that the text holds: as they are, as JSON has them, and as an address has them."""
    text = text.lower()
    return [
        f"{what}: {secret}"
        for what, secret in secrets.items()
        if any(
            form.lower() in text for form in (secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe=""))
        )
    ]


def test_the_search_finds_what_is_there() -> None:
    for what, secret in PLANTED.items():
        assert found_in(f"… {secret.upper()} …", PLANTED) == [f"{what}: {secret}"]
    assert found_in(f"?q={quote(NAME)}", PLANTED) == [f"a name: {NAME}"]
    assert found_in("nothing of theirs", PLANTED) == []


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


@pytest.fixture
def logs(capfd: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """What comes out; how logs are written is put back at the end."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = tuple(root.handlers), root.level
    yield capfd
    structlog.configure(**before)
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
    root.setLevel(level)


def crash_in(kind: type[Any], patch: pytest.MonkeyPatch) -> None:
    """The backend breaks in an unforeseen way, quoting what it was given, whenever tickets are summed up."""
    handle = kind.handle

    async def crashing(self: Any, request: Request) -> Response:
        if request.resource == "tickets" and request.verb == "aggregate":
            password = WORD
            try:
                raise ConnectionError(f"postgresql://root:{password}@db of {MAIL}")
            except ConnectionError as error:
                raise ValueError(f"{LIVE} {NAME} {request.identity!r}") from error
        if request.resource == "deals" and request.verb == "find":
            raise Unavailable(f"the server said: {MAIL} {LIVE}")
        answer: Response = await handle(self, request)
        return answer

    patch.setattr(kind, "handle", crashing)


async def crashing_operation(self: Customers) -> None:
    raise LookupError(f"{MAIL} {LIVE}")


async def drive(client: httpx.AsyncClient, sign_in: Callable[[], Awaitable[str]]) -> dict[str, str]:
    """Calls of every kind, most of them bad; answers what was met on the way that must not come out."""
    for body in (
        {"email": MAIL, "password": WORD},
        {"email": "admin@acme.test", "password": WORD},
        {"email": MAIL},
        {"email": MAIL, "password": WORD, NAME: LIVE},
    ):
        assert (await client.post(f"{PREFIX}/auth/login", json=body)).status_code in (400, 401)
    await client.post(f"{PREFIX}/auth/login", content=f'{{"email": "{MAIL}", "password"')
    await client.post(f"{PREFIX}/auth/magic-link", json={"email": "admin@acme.test"})
    await client.post(f"{PREFIX}/auth/password-reset", json={"email": "agent@acme.test"})
    await client.post(f"{PREFIX}/auth/password-reset/confirm", json={"token": LIVE, "password": WORD})
    await client.post(
        f"{PREFIX}/auth/sign-up",
        json={"email": MAIL, "password": WORD, "displayName": NAME, "tenantId": "01930000-0000-7000-8000-00000000ac3e"},
    )
    assert (await client.get(f"{PREFIX}/customers", headers={"Authorization": f"Bearer {TOKEN}"})).status_code == 401

    access = await sign_in()
    client.headers["Authorization"] = f"Bearer {access}"
    me = (await client.get(f"{PREFIX}/auth/me")).json()
    rows = (await client.get(f"{PREFIX}/customers?_limit=50")).json()
    people = (await client.get(f"{PREFIX}/users")).json()
    assert len(rows) >= 5
    first = rows[0]
    for address in (
        f"?q={quote(NAME)}",
        f"?email={quote(MAIL)}",
        f"?companyName={quote(first['companyName'])}",
        f"?{quote(MAIL)}=1",
        f"?_filter={quote(NAME)}",
        f"/{quote(MAIL)}",
        f"/{first['id']}",
        f"/{first['id']}?token={LIVE}",
        f"/{first['id']}/{quote(NAME)}",
    ):
        await client.get(f"{PREFIX}/customers{address}")
    await client.get(f"/{quote(MAIL)}/{LIVE}")
    await client.request("BREW", f"{PREFIX}/customers")

    named = {"Idempotency-Key": MAIL, "X-Request-Id": MAIL, "User-Agent": NAME, "X-Api-Key": LIVE}
    sent = {"companyName": NAME, "contactName": NAME, "email": MAIL, "phone": PHONE, "notes": NOTE}
    made = await client.post(f"{PREFIX}/customers", json=sent, headers=named)
    assert made.status_code == 201, made.text
    again = await client.post(f"{PREFIX}/customers", json={**sent, "notes": "other"}, headers=named)
    assert again.status_code == 400
    place = f"{PREFIX}/customers/{made.json()['id']}"
    assert (await client.patch(place, json={"notes": NOTE}, headers={"If-Match": '"99"'})).status_code == 412
    assert (await client.patch(place, json={"notes": f"{NOTE}!"}, headers={"If-Match": '"1"'})).status_code == 200
    assert (await client.post(f"{PREFIX}/customers", json={**sent, "size": MAIL, NAME: LIVE})).status_code == 400
    assert (await client.post(f"{PREFIX}/customers", content=b"{" + NAME.encode())).status_code == 400
    tag = {"name": NAME}
    await client.post(f"{PREFIX}/tags", json=tag)
    await client.post(f"{PREFIX}/tags", json=tag)
    await client.post(
        f"{PREFIX}/customers/_bulk", json={"verb": "create", "rows": [sent, {"companyName": NAME, "size": LIVE}]}
    )
    await client.post(
        f"{PREFIX}/batch",
        json=[{"method": "GET", "path": f"/customers/{first['id']}"}, {"method": "GET", "path": f"/{MAIL}"}],
    )
    await asyncio.gather(*(client.get(f"{PREFIX}/customers/{row['id']}") for row in rows[:5]))
    await client.delete(place)
    await client.get(place)
    await client.post(f"{place}/restore")
    await client.post(f"{PREFIX}/users/actions/invite", json={"email": MAIL, "display_name": NAME, "role": LIVE})
    broken = await client.post(f"{PREFIX}/tickets/_aggregate", json={"measures": [{"op": "count"}]})
    assert broken.status_code in (200, 500)
    assert (await client.get(f"{PREFIX}/deals?q={quote(NAME)}")).status_code in (200, 503)
    own = await client.post(f"{PREFIX}/customers/actions/industries", json={})
    assert own.status_code in (200, 500)

    found = {"the access token": access, "a user's id": me["id"] if "id" in me else me["user"]["id"]}
    for row in (*rows, *people):
        for name in ("companyName", "contactName", "displayName", "email", "phone", "address"):
            if row.get(name):
                found[f"{name} of {row['id']}"] = row[name]
        found[f"the id {row['id']}"] = row["id"]
    return found


def secrets_of(home: Path, client: dict[str, str], dsn_key: str = KEY) -> dict[str, str]:
    keys = {f"the key {path.name}": path.read_bytes() for path in home.rglob("keys/*") if path.is_file()}
    return {
        **PLANTED,
        **client,
        "the demo password": PASSWORD,
        "the tenant acme": "01930000-0000-7000-8000-00000000ac3e",
        "the tenant globex": "01930000-0000-7000-8000-00000000910b",
        "the key of the DSN": dsn_key,
        **{f"{what} in hex": key.hex() for what, key in keys.items()},
        **{
            f"{what}, line {number}": line.decode("latin-1")
            for what, key in keys.items()
            for number, line in enumerate(key.split(b"\n"))
            if len(line) > 20 and b"-----" not in line
        },
    }


@pytest.mark.parametrize("mode", ["mock", "sql"])
async def test_nothing_that_went_in_comes_out(
    mode: str,
    tmp_path: Path,
    listener: Listener,
    logs: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{listener.port}")
    crash_in(SqlBackend if mode == "sql" else MemoryBackend, monkeypatch)
    monkeypatch.setattr(Customers, "industries", crashing_operation)
    settings = Settings(
        home=tmp_path,
        environment="test",
        api_mode="sql" if mode == "sql" else "mock",
        seed_size=12,
        cache=True,
        dedup=True,
        batch=True,
        rate_limit=0,
        login_limit=0,
        log_calls=True,
        tracing=True,
        debug=True,
        error_tracking=True,
        sentry_dsn=f"http://{KEY}@127.0.0.1:{listener.port}/1",
    )
    configure(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_unhandled)
    app = await App.open(settings)
    try:
        if mode == "sql":
            await seed_demo(app.router.route("customers").backend, size=12)
        async with serving(create_app(app)) as url, httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:

            async def sign_in() -> str:
                found = await client.post(
                    f"{PREFIX}/auth/login", json={"email": "admin@acme.test", "password": PASSWORD}
                )
                return str(found.json()["accessToken"])

            met = await drive(client, sign_in)
            await app.switch("contracts", "sql" if mode == "mock" else "mock")
            await client.get(f"{PREFIX}/contracts?q={quote(NAME)}")
            await libraries_and_tasks_fail()
            told = [(await client.get(path)).text for path in ("/metrics", "/health", "/readyz")]
            told.append(repr(app.get_metrics()))
    finally:
        await app.aclose()
    out = logs.readouterr()

    lines = [json.loads(line) for line in out.err.splitlines() if line.startswith("{")]
    calls = [line for line in lines if line["event"] == "call"]
    spans, reports = listener.at("/v1/traces"), listener.at("/envelope/")
    assert {call["outcome"] for call in calls} >= {"ok", "rejected", "internal", "unavailable"}
    assert {call["backend"] for call in calls} >= {settings.api_mode}
    assert len({call["tenant"] for call in calls if call["service"] == "customers"}) == 1
    assert {line["event"] for line in lines} >= {"call", "request", "unforeseen", "unhandled", "library"}
    assert all(call["request"] for call in calls if call["service"] == "customers" and call["operation"] == "create")
    assert b"find customers" in b"".join(spans)
    assert b"POST /api/v1/{resource}" in b"".join(spans)
    for kind in (b"ValueError", b"ConnectionError", b"LookupError"):
        assert any(kind in report for report in reports), kind
    assert 'interlock_unforeseen_errors_total{where="call"}' in told[0]

    secrets = secrets_of(tmp_path, met)
    assert len(secrets) > 60
    everything = {
        "standard output": out.out,
        "standard error": out.err,
        "metrics and health": "\n".join(told),
        "traces": b"\n".join(spans).decode("latin-1"),
        "reports": b"\n".join(reports).decode("latin-1"),
    }
    assert {where: found for where, text in everything.items() if (found := found_in(text, secrets))} == {}


async def libraries_and_tasks_fail() -> None:
    """What others in the process log, and a task that nobody waits for."""
    library = logging.getLogger("some.library")
    library.warning("connecting with %s for %s", LIVE, MAIL)
    library.error(f"refused {NAME}")
    try:
        raise OSError(f"{MAIL} {WORD}")
    except OSError:
        library.exception("failed")
        structlog.get_logger("interlock").error("failed", exc_info=True)
        structlog.get_logger("interlock").warning("odd", about={"to": [MAIL, f"http://root:{WORD}@db", TOKEN]})

    async def lost() -> None:
        raise OSError(f"{MAIL} {WORD}")

    asyncio.get_running_loop().create_task(lost())
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()


def goes_on(bodies: list[bytes]) -> bool:
    """Whether a request that a server answered is below the call of a client, which only another process can have made."""
    spans = [
        span
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    clients = {span.span_id for span in spans if span.kind == Span.SPAN_KIND_CLIENT}
    return any(span.kind == Span.SPAN_KIND_SERVER and span.parent_span_id in clients for span in spans)


def test_the_product_as_processes_tells_nothing(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway before the real API, each a process, traced from one into the other."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{listener.port}")
    with started(
        tmp_path,
        INTERLOCK_API_MODE="real",
        INTERLOCK_SEED_SIZE="8",
        INTERLOCK_RATE_LIMIT="0",
        INTERLOCK_LOGIN_LIMIT="0",
        INTERLOCK_CACHE="true",
        INTERLOCK_LOG_CALLS="true",
        INTERLOCK_TRACING="true",
        INTERLOCK_DEBUG="true",
        INTERLOCK_ERROR_TRACKING="true",
        INTERLOCK_SENTRY_DSN=f"http://{KEY}@127.0.0.1:{listener.port}/1",
    ) as product:

        async def calls() -> tuple[dict[str, str], str]:
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{product.ports['8000']}", timeout=PATIENCE
            ) as client:

                async def sign_in() -> str:
                    body = {"email": "admin@acme.test", "password": PASSWORD}
                    return str((await client.post(f"{PREFIX}/auth/login", json=body)).json()["accessToken"])

                met = await drive(client, sign_in)
                return met, (await client.get("/metrics")).text

        met, metrics = asyncio.run(calls())
        product.process.terminate()
        assert product.process.stdout is not None
        said = product.process.stdout.read()
    logged = "\n".join(path.read_text("utf-8") for path in (tmp_path / ".interlock").rglob("*.log"))
    spans = b"\n".join(listener.at("/v1/traces")).decode("latin-1")
    assert '"event": "call"' in logged
    assert "find customers" in spans
    assert goes_on(listener.at("/v1/traces")), "no span of the API's has one of the gateway's above it"
    everything = {"output": said, "logs": logged, "metrics": metrics, "traces": spans}
    secrets = secrets_of(tmp_path / ".interlock", met)
    assert {where: found for where, text in everything.items() if (found := found_in(text, secrets))} == {}
