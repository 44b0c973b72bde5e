"""What calling a function meets: bad tokens, browsers, functions that throw, are slow, or are not there."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from anyio.from_thread import start_blocking_portal
from supabase_functions.errors import FunctionsHttpError
from tests.supabase.files.conftest import Tokens
from tests.supabase.functions.conftest import Tenant

from interlock.abilities import Invokes
from interlock.backends.supabase.functions import SupabaseFunctions
from interlock.contract import Identity
from interlock.devstack import Stack, running
from interlock.devstack.programs import find_programs, project_folder
from interlock.errors import Invalid, Misconfigured, OutcomeUnknown, Unauthenticated, Unavailable, Unsupported
from interlock.identifiers import new_id
from interlock.testing.harness import new_identity
from supabase import acreate_client

pytestmark = pytest.mark.anyio

NAMES = ("invite-user", "merge-customers", "send-notification")

ODD = {
    "throws": 'Deno.serve(() => { throw new Error("the secret of the function"); });',
    "broken": 'import "./nowhere.ts";',
    "slow": "Deno.serve(async () => { await new Promise((done) => setTimeout(done, 30_000)); return new Response(); });",
    "text": 'Deno.serve(() => new Response("plain"));',
    "empty": "Deno.serve(() => new Response(null, { status: 204 }));",
    "echo": "Deno.serve(async (request) => Response.json({ at: new URL(request.url).pathname, given: await request.json(),"
    ' operation: request.headers.get("x-interlock-operation") }));',
    "teapot": 'Deno.serve(() => Response.json(["no", "problem"], { status: 418 }));',
    "limited": 'Deno.serve(() => new Response("", { status: 429, headers: { "retry-after": "7" } }));',
    "client": 'import { createClient } from "jsr:@supabase/supabase-js@2";'
    ' Deno.serve(async (request) => { const client = createClient(Deno.env.get("SUPABASE_URL")!, Deno.env.get("SUPABASE_ANON_KEY")!,'
    ' { global: { headers: { Authorization: request.headers.get("Authorization")! } } });'
    ' const { error } = await client.from("nothing").select(); return Response.json({ code: error!.code }); });',
}


# -- the project's own functions ----------------------------------------------------------------------------------------


async def test_it_can_invoke(functions: SupabaseFunctions) -> None:
    assert isinstance(functions, Invokes)
    assert "key" not in repr(functions)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bearer", [None, "", "Bearer", "Bearer x", "Basic YTpi", "Bearer a.b.c"])
async def test_no_good_token_no_function(http: httpx.AsyncClient, name: str, bearer: str | None) -> None:
    headers = {} if bearer is None else {"Authorization": bearer}
    answer = await http.post(name, json={}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("name", NAMES)
async def test_forged_and_old_tokens_are_refused(
    http: httpx.AsyncClient, stack: Any, tokens: Tokens, ours: Tenant, name: str
) -> None:
    good = await tokens.token(ours["admin"])
    claims = jwt.decode(good, options={"verify_signature": False})
    forged = (
        jwt.encode(claims, "another secret, long enough for this", algorithm="HS256"),
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode({**claims, "exp": 1}, stack.jwt_secret, algorithm="HS256"),
        stack.anon_key,
    )
    for token in forged:
        answer = await http.post(name, json={}, headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_user_metadata_grants_nothing(http: httpx.AsyncClient, stack: Any, ours: Tenant) -> None:
    claims = {
        "aud": "authenticated",
        "role": "authenticated",
        "sub": new_id(),
        "exp": 4_000_000_000,
        "app_metadata": {},
        "user_metadata": {"tenant_id": ours.name, "role": "admin"},
    }
    token = jwt.encode(claims, stack.jwt_secret, algorithm="HS256")
    for name in NAMES:
        answer = await http.post(name, json={}, headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_who_was_let_go_calls_nothing(functions: SupabaseFunctions, ours: Tenant) -> None:
    await ours.services("admin").users.deactivate(ours["manager"].user_id)
    with pytest.raises(Unauthenticated):
        await functions.invoke(ours["manager"], "send-notification", {"role": "agent", "title": "T"})


async def test_an_old_token_is_renewed_once(stack: Any, ours: Tenant) -> None:
    stale = Tokens(stack.jwt_secret, spoilt=1)
    functions = SupabaseFunctions(stack.url, stack.anon_key, tokens=stale)
    message = {"user_id": ours["agent"].user_id, "title": "T"}
    assert (await functions.invoke(ours["agent"], "send-notification", message))["sent"] == 1
    stale.spoilt = 2
    with pytest.raises(Unauthenticated):
        await functions.invoke(ours["agent"], "send-notification", message)
    await functions.aclose()


@pytest.mark.parametrize("name", NAMES)
async def test_browsers_may_call(http: httpx.AsyncClient, name: str) -> None:
    asked = {"Origin": "https://app.test", "Access-Control-Request-Method": "POST"}
    answer = await http.options(name, headers=asked)
    assert answer.status_code == 204
    allowed = answer.headers["access-control-allow-headers"]
    assert all(header in allowed for header in ("authorization", "apikey", "x-client-info", "idempotency-key"))
    refused = await http.post(name, json={}, headers=asked)
    assert refused.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("GET", b"", 405),
        ("POST", b"{", 400),
        ("POST", b"[]", 400),
        ("POST", b"null", 400),
        ("POST", b'"' + b"x" * 70_000 + b'"', 413),
    ],
)
async def test_what_is_no_call_is_refused(
    http: httpx.AsyncClient, tokens: Tokens, ours: Tenant, name: str, method: str, body: bytes, status: int
) -> None:
    bearer = {"Authorization": f"Bearer {await tokens.token(ours['admin'])}"}
    answer = await http.request(method, name, content=body, headers=bearer)
    assert answer.status_code == status
    assert answer.json()["message"]


async def test_the_official_client_calls_and_is_told(stack: Any, tokens: Tokens, ours: Tenant) -> None:
    client = await acreate_client(stack.url, stack.anon_key)
    client.functions.set_auth(await tokens.token(ours["manager"]))
    body = {"user_id": ours["viewer"].user_id, "title": "From supabase-py"}
    sent: Any = await client.functions.invoke("send-notification", {"body": body, "responseType": "json"})
    assert sent["sent"] == 1
    with pytest.raises(FunctionsHttpError) as failure:
        await client.functions.invoke("send-notification", {"body": {"role": "nobody", "title": "T"}})
    assert failure.value.status == 400
    assert failure.value.message == "role: must be one of admin, manager, agent, viewer"


# -- functions of one's own ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd(missing: Any) -> Iterator[Stack]:
    """A stack whose project has nothing but odd functions."""
    folder = Path(tempfile.mkdtemp(prefix="interlock-functions-"))
    try:
        for name, source in ODD.items():
            (folder / "project" / "functions" / name).mkdir(parents=True)
            (folder / "project" / "functions" / name / "index.ts").write_text(source)
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(running(folder / "stack", project=folder / "project")) as stack,
        ):
            yield stack
    except Misconfigured as error:
        missing(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def caller(odd: Stack) -> AsyncIterator[SupabaseFunctions]:
    functions = SupabaseFunctions(odd.url, odd.anon_key, tokens=Tokens(odd.jwt_secret), timeout=5)
    yield functions
    await functions.aclose()


@pytest.fixture
def someone() -> Identity:
    return new_identity()


async def test_answers_of_any_kind(caller: SupabaseFunctions, someone: Identity) -> None:
    operation = new_id()
    got = await caller.invoke(someone, "echo", {"a": [1, None, "é"]}, operation_id=operation)
    assert got == {"at": "/echo", "given": {"a": [1, None, "é"]}, "operation": operation}
    assert await caller.invoke(someone, "text", {}) == b"plain"
    assert await caller.invoke(someone, "empty", {}) is None
    assert await caller.invoke(someone, "client", {}) == {"code": "42P01"}


async def test_a_function_that_fails(caller: SupabaseFunctions, someone: Identity) -> None:
    for name in ("throws", "broken"):
        with pytest.raises(Unavailable) as failure:
            await caller.invoke(someone, name, {})
        assert name in failure.value.message
        assert "secret" not in failure.value.message
    with pytest.raises(Unavailable, match="418"):
        await caller.invoke(someone, "teapot", {})


async def test_a_function_that_is_not_there(caller: SupabaseFunctions, someone: Identity) -> None:
    with pytest.raises(Unsupported, match="supabase functions deploy"):
        await caller.invoke(someone, "nothing", {})
    for name in ("../rest/v1/users", "a/b", "", "a?b=c", "a#b", "_shared", "é"):
        with pytest.raises(Invalid, match="name"):
            await caller.invoke(someone, name, {})
    with pytest.raises(Invalid, match="arguments"):
        await caller.invoke(someone, "echo", {"a": object()})


async def test_a_slow_function_leaves_its_outcome_unknown(odd: Stack, someone: Identity) -> None:
    hasty = SupabaseFunctions(odd.url, odd.anon_key, tokens=Tokens(odd.jwt_secret), timeout=0.3)
    operation = new_id()
    with pytest.raises(OutcomeUnknown) as failure:
        await hasty.invoke(someone, "slow", {}, operation_id=operation)
    assert failure.value.operation_id == operation
    await hasty.aclose()


async def test_functions_that_are_stopped(odd: Stack, caller: SupabaseFunctions, someone: Identity) -> None:
    await odd.stop_part("functions")
    with pytest.raises(Unavailable, match="not running"):
        await caller.invoke(someone, "echo", {})
    await odd.start_part("functions")
    assert (await caller.invoke(someone, "echo", {"back": 1}))["given"] == {"back": 1}


async def test_a_project_that_is_not_there(someone: Identity) -> None:
    caller = SupabaseFunctions("http://127.0.0.1:9", "key", tokens=Tokens("x" * 40))
    with pytest.raises(Unavailable, match="cannot be reached"):
        await caller.invoke(someone, "echo", {})
    await caller.aclose()


# -- types --------------------------------------------------------------------------------------------------------------


def checked(*sources: Path) -> subprocess.CompletedProcess[str]:
    """Deno's type checker, offline."""
    programs = find_programs()
    command: tuple[str | Path, ...] = (
        programs.deno, "check", "--quiet", "--no-remote", "--no-lock", "--node-modules-dir=manual",
        f"--config={programs.sources / 'functions' / 'check.json'}", *sources,
    )  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, env={"NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1"})


def test_the_functions_types_hold(tmp_path: Path, missing: Any) -> None:
    try:
        find_programs()
    except Misconfigured as error:
        missing(str(error))
    sources = sorted(project_folder().glob("functions/*/index.ts"))
    assert {path.parent.name for path in sources} == set(NAMES)
    done = checked(*sources)
    assert not done.returncode, done.stderr
    wrong = tmp_path / "wrong.ts"
    wrong.write_text('import { createClient } from "jsr:@supabase/supabase-js@2";\ncreateClient(1, 2).nothing();\n')
    assert "TS2345" in checked(wrong).stderr
