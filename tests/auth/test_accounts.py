"""Log-in, refresh, links and resets over the backends that keep credentials themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from interlock.accounts import Accounts, FileOutbox, Message, hash_password
from interlock.backends.memory import MemoryBackend
from interlock.backends.sql import SqlBackend, migrate
from interlock.contract import Identity, Query, Request
from interlock.entities import ENTITIES, User
from interlock.errors import Invalid, Unauthenticated, Unavailable
from interlock.identifiers import new_id
from interlock.seed import ACME, DEMO_PASSWORD, seed_demo
from interlock.tokens import TokenIssuer

pytestmark = pytest.mark.anyio

SYSTEM = Identity("system", ACME, "system")
AGENT = "agent@acme.test"
NEW = "another-password"


class Post:
    """Keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)


class Desk:
    """Accounts on seeded demo data, with their clock and post."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.post = Post()
        self.now = datetime.now(UTC)
        self.accounts = Accounts(backend, TokenIssuer.new(), clock=lambda: self.now, messenger=self.post)

    async def patch_user(self, email: str, /, **patch: Any) -> None:
        (user,) = await self.backend.find_accounts("users", "email", email)
        await self.backend.handle(
            Request("update", "users", SYSTEM, ids=(user.id,), patch=MappingProxyType(patch), operation_id=new_id())
        )


@pytest.fixture(params=["memory", "sql"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    if request.param == "memory":
        memory = MemoryBackend(ENTITIES)
        await seed_demo(memory, size=0)
        yield Desk(memory)
        return
    url = f"sqlite+aiosqlite:///{tmp_path / 'accounts.db'}"
    await migrate(url)
    sql = SqlBackend(url, ENTITIES)
    await sql.open()
    try:
        await seed_demo(sql, size=0)
        yield Desk(sql)
    finally:
        await sql.aclose()


@pytest.mark.clock
async def test_a_password_logs_in_whatever_the_case_of_the_address(desk: Desk) -> None:
    session = await desk.accounts.login("Agent@ACME.test", DEMO_PASSWORD)
    assert (session.identity.email, session.identity.tenant_id, session.identity.role) == (AGENT, ACME, "agent")
    assert session.access_token not in repr(session)
    assert session.refresh_token not in repr(session)


@pytest.mark.parametrize(
    ("email", "password"),
    [(AGENT, "wrong-password"), ("nobody@acme.test", DEMO_PASSWORD), (AGENT, "\ud800"), ("", "")],
)
async def test_a_wrong_log_in_does_not_say_what_was_wrong(desk: Desk, email: str, password: str) -> None:
    with pytest.raises(Unauthenticated, match=r"^the address or the password is wrong$"):
        await desk.accounts.login(email, password)


async def test_a_deactivated_user_can_neither_log_in_nor_refresh(desk: Desk) -> None:
    session = await desk.accounts.login(AGENT, DEMO_PASSWORD)
    await desk.patch_user(AGENT, active=False)
    with pytest.raises(Unauthenticated):
        await desk.accounts.login(AGENT, DEMO_PASSWORD)
    with pytest.raises(Unauthenticated):
        await desk.accounts.refresh(session.refresh_token)


@pytest.mark.clock
async def test_a_refresh_token_is_good_once_and_its_reuse_ends_the_log_in(desk: Desk) -> None:
    first = await desk.accounts.login(AGENT, DEMO_PASSWORD)
    second = await desk.accounts.refresh(first.refresh_token)
    assert second.refresh_token != first.refresh_token
    with pytest.raises(Unauthenticated, match="used before"):
        await desk.accounts.refresh(first.refresh_token)
    with pytest.raises(Unauthenticated):
        await desk.accounts.refresh(second.refresh_token)


async def test_a_log_out_ends_one_log_in_and_no_other(desk: Desk) -> None:
    one, other = [await desk.accounts.login(AGENT, DEMO_PASSWORD) for _ in range(2)]
    await desk.accounts.logout(one)
    with pytest.raises(Unauthenticated):
        await desk.accounts.refresh(one.refresh_token)
    assert (await desk.accounts.refresh(other.refresh_token)).identity == other.identity


@pytest.mark.clock
async def test_a_refresh_token_expires(desk: Desk) -> None:
    session = await desk.accounts.login(AGENT, DEMO_PASSWORD)
    desk.now += timedelta(days=31)
    with pytest.raises(Unauthenticated, match="no longer good"):
        await desk.accounts.refresh(session.refresh_token)


@pytest.mark.clock
async def test_a_magic_link_logs_in_once_and_in_time(desk: Desk) -> None:
    await desk.accounts.request_magic_link(AGENT)
    await desk.accounts.request_magic_link("nobody@acme.test")
    (message,) = desk.post.messages
    assert message.to == AGENT
    assert message.token not in repr(message)
    assert (await desk.accounts.redeem_magic_link(message.token)).identity.email == AGENT
    with pytest.raises(Unauthenticated):
        await desk.accounts.redeem_magic_link(message.token)
    await desk.accounts.request_magic_link(AGENT)
    desk.now += timedelta(minutes=16)
    with pytest.raises(Unauthenticated):
        await desk.accounts.redeem_magic_link(desk.post.messages[-1].token)


async def test_a_reset_sets_the_password_and_ends_every_session(desk: Desk) -> None:
    session = await desk.accounts.login(AGENT, DEMO_PASSWORD)
    await desk.accounts.request_password_reset(AGENT)
    token = desk.post.messages[-1].token
    with pytest.raises(Invalid, match="password"):
        await desk.accounts.reset_password(token, "short")
    with pytest.raises(Unauthenticated):
        await desk.accounts.redeem_magic_link(token)
    await desk.accounts.reset_password(token, NEW)
    with pytest.raises(Unauthenticated):
        await desk.accounts.refresh(session.refresh_token)
    with pytest.raises(Unauthenticated):
        await desk.accounts.login(AGENT, DEMO_PASSWORD)
    assert (await desk.accounts.login(AGENT, NEW)).identity.email == AGENT


async def test_only_who_was_invited_can_sign_up_and_only_by_their_own_post(desk: Desk) -> None:
    await desk.accounts.sign_up("stranger@acme.test", NEW, "Stranger", ACME)
    await desk.accounts.sign_up(AGENT, NEW, "Taken over", ACME)
    assert desk.post.messages == []
    invited = User(id=new_id(), email="invited@acme.test", display_name="?", role="viewer")
    await desk.backend.handle(Request("create", "users", SYSTEM, rows=(invited,), operation_id=new_id()))
    await desk.accounts.sign_up("invited@acme.test", NEW, "Ingrid", "01900000-0000-7000-8000-0000000000bb")
    assert desk.post.messages == []
    await desk.accounts.sign_up("invited@acme.test", NEW, "Ingrid", ACME)
    with pytest.raises(Unauthenticated):
        await desk.accounts.login("invited@acme.test", NEW)
    await desk.accounts.redeem_magic_link(desk.post.messages[-1].token)
    assert (await desk.accounts.login("invited@acme.test", NEW)).identity.role == "viewer"


async def test_a_password_goes_with_the_user_to_a_new_address(desk: Desk) -> None:
    await desk.patch_user(AGENT, email="moved@acme.test")
    await desk.patch_user("viewer@acme.test", email=AGENT)
    assert (await desk.accounts.login("moved@acme.test", DEMO_PASSWORD)).identity.role == "agent"
    assert (await desk.accounts.login(AGENT, DEMO_PASSWORD)).identity.role == "viewer"
    await desk.accounts.request_password_reset("moved@acme.test")
    await desk.accounts.reset_password(desk.post.messages[-1].token, NEW)
    assert (await desk.accounts.login("moved@acme.test", NEW)).identity.role == "agent"
    with pytest.raises(Unauthenticated):
        await desk.accounts.login("moved@acme.test", DEMO_PASSWORD)


async def test_a_reset_ends_the_links_that_were_sent_before(desk: Desk) -> None:
    await desk.accounts.request_magic_link(AGENT)
    await desk.accounts.request_password_reset(AGENT)
    magic, reset = (message.token for message in desk.post.messages)
    await desk.accounts.reset_password(reset, NEW)
    with pytest.raises(Unauthenticated):
        await desk.accounts.redeem_magic_link(magic)


async def test_post_that_fails_tells_nothing(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    accounts = Accounts(
        desk.backend, TokenIssuer.new(), clock=lambda: desk.now, messenger=FileOutbox(tmp_path / "file" / "outbox")
    )
    for email in (AGENT, "nobody@acme.test"):
        await accounts.request_magic_link(email)


async def test_no_secret_is_stored_as_it_is(desk: Desk) -> None:
    session = await desk.accounts.login(AGENT, DEMO_PASSWORD)
    answer = await desk.backend.handle(Request("find", "credentials", SYSTEM, query=Query(limit=1000)))
    stored = " ".join(f"{row.lookup} {row.secret}" for row in answer.rows)
    assert DEMO_PASSWORD not in stored
    assert session.refresh_token not in stored
    assert all("argon2" not in repr(row) for row in answer.rows)


async def test_without_a_messenger_no_link_is_promised() -> None:
    backend = MemoryBackend(ENTITIES)
    await seed_demo(backend, size=0)
    accounts = Accounts(backend, TokenIssuer.new(), clock=lambda: datetime.now(UTC))
    for email in (AGENT, "nobody@acme.test"):
        with pytest.raises(Unavailable, match="messenger"):
            await accounts.request_magic_link(email)


async def test_the_outbox_is_its_owner_s_alone(tmp_path: Path) -> None:
    outbox = FileOutbox(tmp_path / "outbox")
    await outbox.send(Message("a@b.test", "reset", "secret-token", datetime(2026, 1, 1, tzinfo=UTC)))
    (file,) = (tmp_path / "outbox").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert "secret-token" in file.read_text()


def test_a_password_is_salted() -> None:
    assert hash_password(NEW) != hash_password(NEW)
