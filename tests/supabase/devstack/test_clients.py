"""The official Python client on the local Supabase: auth, rest, storage, functions, realtime."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import jwt
import pytest
from postgrest.exceptions import APIError
from realtime import RealtimeSubscribeStates
from storage3.exceptions import StorageApiError
from supabase_auth.errors import AuthApiError
from supabase_functions.errors import FunctionsHttpError
from tests.supabase.devstack.conftest import PASSWORD, member

from interlock.devstack import Stack
from interlock.identifiers import new_id
from supabase import AsyncClient, acreate_client

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


# --- auth


async def test_signs_up_in_and_refreshes_with_the_users_metadata_in_the_token(
    small: Stack, service: AsyncClient
) -> None:
    client = await acreate_client(small.url, small.anon_key)
    email = f"{new_id()}@new.test"
    signed_up = await client.auth.sign_up({"email": email, "password": PASSWORD, "options": {"data": {"name": "Ada"}}})
    assert signed_up.user is not None
    assert signed_up.user.user_metadata["name"] == "Ada"
    await service.auth.admin.update_user_by_id(signed_up.user.id, {"app_metadata": {"tenant_id": "acme"}})
    if signed_up.session is None:  # where the project's configuration has addresses confirmed first
        await service.auth.admin.update_user_by_id(signed_up.user.id, {"email_confirm": True})
    session = (await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})).session
    assert session is not None
    refreshed = (await client.auth.refresh_session()).session
    assert refreshed is not None
    claims = jwt.decode(refreshed.access_token, small.jwt_secret, algorithms=["HS256"], audience="authenticated")
    assert claims["app_metadata"]["tenant_id"] == "acme"
    assert claims["role"] == "authenticated"
    assert claims["sub"] == signed_up.user.id
    found = (await service.table("new_users").select("email").eq("email", email).execute()).data
    assert found == [{"email": email}], "the project's trigger on auth.users ran"


async def test_refuses_a_wrong_password(small: Stack, service: AsyncClient) -> None:
    client, email = await member(small, service, "acme")
    with pytest.raises(AuthApiError, match="Invalid login credentials"):
        await client.auth.sign_in_with_password({"email": email, "password": "something else"})


async def test_a_link_by_mail_logs_in(small: Stack, service: AsyncClient) -> None:
    _, email = await member(small, service, "acme")
    client = await acreate_client(small.url, small.anon_key)
    await client.auth.sign_in_with_otp({"email": email, "options": {"should_create_user": False}})
    mail = next(mail for mail in reversed(small.mails()) if mail["to"] == email)
    link = re.search(r"http\S+/auth/v1/verify\S+", mail["text"])
    assert link is not None
    hashed = parse_qs(urlsplit(link[0]).query)["token"][0]
    session = (await client.auth.verify_otp({"token_hash": hashed, "type": "email"})).session
    assert session is not None
    assert session.user.email == email


async def test_only_the_service_key_administers_users(small: Stack, service: AsyncClient, acme: AsyncClient) -> None:
    user = await user_id(acme)
    with pytest.raises(AuthApiError, match="User not allowed"):
        await acme.auth.admin.list_users()
    listed = await service.auth.admin.list_users(per_page=1000)
    assert user in {each.id for each in listed}
    await service.auth.admin.delete_user(user)
    with pytest.raises(AuthApiError, match="User not found"):
        await service.auth.admin.get_user_by_id(user)


# --- rest


async def test_row_security_holds_users_apart(acme: AsyncClient, globex: AsyncClient, small: Stack) -> None:
    note = new_id()
    place = "SRID=4326;POINT(4.9 52.4)"
    row = (await acme.table("notes").insert({"n": note, "amount": "12.50", "place": place}).execute()).data[0]
    assert isinstance(row, dict)
    assert (row["tenant_id"], row["amount"], row["owner"]) == ("acme", 12.5, await user_id(acme))
    assert (await globex.table("notes").select("*").eq("n", note).execute()).data == []
    nobody = await acreate_client(small.url, small.anon_key)
    assert (await nobody.table("notes").select("*").eq("n", note).execute()).data == []
    with pytest.raises(APIError) as refused:
        await globex.table("notes").insert({"n": note, "tenant_id": "acme"}).execute()
    assert refused.value.code == "42501"


async def test_answers_at_most_1000_rows_and_counts_all(service: AsyncClient) -> None:
    batch = new_id()
    await service.table("notes").insert([{"tenant_id": "many", "n": batch}] * 1001).execute()
    answer = await service.table("notes").select("id", count="exact").eq("n", batch).execute()  # type: ignore[arg-type]  # its enum is a str
    assert (len(answer.data), answer.count) == (1000, 1001)


async def test_a_setting_kept_with_the_role_counts(small: Stack) -> None:
    refused = fetch(f"{small.url}/rest/v1/notes", {"apikey": small.anon_key, "x-refuse": "1"})
    assert (refused[0], "user_revoked" in refused[1]) == (401, True)


@pytest.mark.parametrize("headers", [{}, {"apikey": "not-a-key"}])
async def test_the_front_door_wants_a_key(small: Stack, headers: dict[str, str]) -> None:
    for path in ("/rest/v1/notes", "/auth/v1/user", "/storage/v1/bucket"):
        assert fetch(f"{small.url}{path}", headers)[0] == 401, path


async def test_rest_logs_in_as_no_superuser(small: Stack, service: AsyncClient) -> None:
    answer = (await service.rpc("whoami", {}).execute()).data
    assert answer == {"role": "service_role", "uid": None, "user": "service_role"}
    forged = jwt.encode({"role": "postgres", "exp": time.time() + 60}, small.jwt_secret, "HS256")
    refused = fetch(f"{small.url}/rest/v1/notes", {"apikey": small.anon_key, "authorization": f"Bearer {forged}"})
    assert refused[0] == 403, "authenticator may become anon, authenticated and service_role only"


# --- storage


async def test_files_are_kept_read_listed_moved_and_removed(acme: AsyncClient, globex: AsyncClient) -> None:
    folder = f"acme/{new_id()}"
    papers = acme.storage.from_("papers")
    data = bytes(range(256)) * 64
    await papers.upload(f"{folder}/a.bin", data, {"content-type": "application/octet-stream"})
    with pytest.raises(StorageApiError):
        await papers.upload(f"{folder}/a.bin", b"again")
    await papers.upload(f"{folder}/a.bin", data, {"upsert": "true"})
    assert await papers.download(f"{folder}/a.bin") == data
    await papers.copy(f"{folder}/a.bin", f"{folder}/deeper/b.bin")
    assert sorted(each["name"] for each in await papers.list(folder)) == ["a.bin", "deeper"]
    signed = await papers.create_signed_url(f"{folder}/a.bin", 60)
    assert await asyncio.to_thread(fetch_bytes, signed["signedURL"] or "") == data
    with pytest.raises(StorageApiError):
        await globex.storage.from_("papers").download(f"{folder}/a.bin")
    with pytest.raises(StorageApiError):
        await globex.storage.from_("papers").upload(f"{folder}/c.bin", b"not theirs")
    await papers.move(f"{folder}/a.bin", f"{folder}/c.bin")
    await papers.remove([f"{folder}/c.bin", f"{folder}/deeper/b.bin"])
    assert await papers.list(folder) == []


async def test_an_upload_by_a_signed_url(acme: AsyncClient) -> None:
    path = f"acme/{new_id()}.txt"
    papers = acme.storage.from_("papers")
    ticket = await papers.create_signed_upload_url(path)
    await papers.upload_to_signed_url(path, ticket["token"], b"by ticket")
    assert await papers.download(path) == b"by ticket"


# --- functions


async def test_a_function_speaks_for_its_caller(acme: AsyncClient) -> None:
    answer: Any = await acme.functions.invoke("hello", {"body": {"name": "Ada"}, "responseType": "json"})
    assert answer["message"] == "Hello Ada!"
    assert answer["path"] == "/hello"
    assert answer["as"]["uid"] == await user_id(acme)


@pytest.mark.parametrize(("name", "status"), [("missing", 404), ("broken", 500), ("..%2Fhello", 404)])
async def test_a_function_that_fails(acme: AsyncClient, name: str, status: int) -> None:
    with pytest.raises(FunctionsHttpError) as failed:
        await acme.functions.invoke(name, {"body": {}})
    assert failed.value.status == status


# --- realtime


class Listener:
    """A channel on notes, and what it heard."""

    def __init__(self, client: AsyncClient, *, filter: str | None = None) -> None:
        self.changes: asyncio.Queue[Any] = asyncio.Queue()
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        self.channel = client.channel(new_id())
        self._up = asyncio.Event()
        self.channel.on_postgres_changes(
            "*",  # type: ignore[arg-type]  # its enum is a str
            schema="public",
            table="notes",
            filter=filter,
            callback=lambda payload: self.changes.put_nowait(payload["data"]),
        )
        self.channel.on_system(lambda _: self._up.set())
        self.channel.on_broadcast("greeting", self.told.put_nowait)

    async def listen(self) -> Listener:
        await self.channel.subscribe()
        await asyncio.wait_for(self._up.wait(), 10)
        return self

    async def next(self) -> Any:
        return await asyncio.wait_for(self.changes.get(), 10)


async def test_hears_of_changes_of_its_own_tenant_alone(
    acme: AsyncClient, globex: AsyncClient, service: AsyncClient
) -> None:
    mine, theirs = await Listener(acme).listen(), await Listener(globex).listen()
    note = (await service.table("notes").insert({"tenant_id": "acme", "n": "one"}).execute()).data[0]
    assert isinstance(note, dict)
    inserted = await mine.next()
    assert (inserted["type"], inserted["record"]["n"]) == ("INSERT", "one")
    await service.table("notes").update({"n": "two"}).eq("id", note["id"]).execute()
    updated = await mine.next()
    assert (updated["type"], updated["record"]["n"], updated["old_record"]) == ("UPDATE", "two", {"id": note["id"]})
    await service.table("notes").insert({"tenant_id": "globex", "n": "theirs"}).execute()
    assert (await theirs.next())["record"]["n"] == "theirs"
    assert mine.changes.empty()
    await service.table("notes").delete().eq("id", note["id"]).execute()
    assert (await mine.next())["old_record"] == {"id": note["id"]}


async def test_hears_of_every_row_of_a_statement_in_order_and_through_a_filter(
    acme: AsyncClient, service: AsyncClient
) -> None:
    batch = new_id()
    every, some = await Listener(acme).listen(), await Listener(acme, filter="n=eq.chosen").listen()
    rows = [{"tenant_id": "acme", "n": "chosen" if at == 7 else batch, "amount": at} for at in range(300)]
    await service.table("notes").insert(rows).execute()
    assert [(await every.next())["record"]["amount"] for _ in rows] == list(range(300))
    assert (await some.next())["record"]["amount"] == 7


async def test_broadcast_reaches_the_others_in_the_topic(acme: AsyncClient, small: Stack) -> None:
    here = await Listener(acme).listen()
    topic = here.channel.topic.removeprefix("realtime:")
    body = f'{{"messages": [{{"topic": "{topic}", "event": "greeting", "payload": {{"text": "hello"}}}}]}}'
    headers = {"apikey": small.anon_key, "content-type": "application/json"}
    sent = await asyncio.to_thread(fetch, f"{small.url}/realtime/v1/api/broadcast", headers, body.encode())
    assert sent[0] == 202
    assert (await asyncio.wait_for(here.told.get(), 10))["payload"] == {"text": "hello"}


async def test_presence_is_told(acme: AsyncClient, globex: AsyncClient) -> None:
    topic, seen = new_id(), asyncio.Event()
    one, other = acme.channel(topic), globex.channel(topic)
    other.on_presence_join(lambda *_: seen.set())
    await other.subscribe()
    await one.subscribe()
    await one.track({"here": True})
    await asyncio.wait_for(seen.wait(), 10)


async def test_a_token_that_expires_ends_its_channel(small: Stack, acme: AsyncClient, service: AsyncClient) -> None:
    user = await user_id(acme)
    claims = {
        "sub": user,
        "role": "authenticated",
        "aud": "authenticated",
        "exp": time.time() + 1.5,
        "app_metadata": {"tenant_id": "acme"},
    }
    client = await acreate_client(small.url, small.anon_key)
    await client.realtime.set_auth(jwt.encode(claims, small.jwt_secret, "HS256"))
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    channel = client.channel(new_id())

    def hear(state: RealtimeSubscribeStates, error: Exception | None) -> None:
        if state is RealtimeSubscribeStates.CHANNEL_ERROR and not ended.done():
            ended.set_result(str(error))

    channel.on_postgres_changes("*", schema="public", table="notes", callback=lambda _: None)  # type: ignore[arg-type]  # its enum is a str
    await channel.subscribe(hear)
    assert "expired" in await asyncio.wait_for(ended, 10)
    await client.remove_all_channels()


def fetch(url: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, str]:
    """The status and the text of an answer, whatever the status."""
    try:
        with urlopen(Request(url, body, headers)) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def fetch_bytes(url: str) -> bytes:
    with urlopen(url) as answer:
        found: bytes = answer.read()
        return found


async def user_id(client: AsyncClient) -> str:
    answer = await client.auth.get_user()
    assert answer is not None
    return answer.user.id
