"""Realtime: another tenant's changes, presence and broadcasts, joined with all kinds of tokens."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import (
    ClientConnectionResetError,
    ClientSession,
    ClientWebSocketResponse,
    WSMsgType,
    WSServerHandshakeError,
)
from tests.patience import PATIENCE
from tests.supabase.attacks.table import Table
from tests.supabase.attacks.world import Persona, World

from interlock.identifiers import new_id

SOCKETS = Table()


class Listener:
    """A raw client of Realtime, that keeps all it is told."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self.heard: list[Any] = []

    async def say(self, frame: Mapping[str, Any]) -> None:
        """Send a frame of one's own making."""
        await self._socket.send_json(frame)

    async def join(self, topic: str, token: str | None, bindings: Sequence[Mapping[str, Any]], **config: Any) -> None:
        """Ask for a channel."""
        payload = {"config": {"postgres_changes": bindings, **config}, **({"access_token": token} if token else {})}
        await self._socket.send_json(
            {"event": "phx_join", "topic": topic, "payload": payload, "ref": "1", "join_ref": "1"}
        )

    async def until(self, wanted: str) -> bool:
        """Listen until a text comes (True), or the socket ends."""
        return await self._until(lambda: any(wanted in json.dumps(frame) for frame in self.heard))

    async def answered(self, topics: int) -> bool:
        """Listen until so many channels are subscribed or refused (True), or the socket ends."""

        def decided() -> bool:
            ends = [
                frame["topic"]
                for frame in self.heard
                if frame["event"] == "system" or frame["payload"].get("status") == "error"
            ]
            return len({*ends}) >= topics

        return await self._until(decided)

    async def caught_up(self) -> None:
        """Listen until a heartbeat comes back, or the socket ends: what was sent to it before has come."""
        ref = new_id()
        with suppress(ClientConnectionResetError):
            await self.say({"event": "heartbeat", "topic": "phoenix", "payload": {}, "ref": ref})
        await self.until(ref)

    async def _until(self, heard: Callable[[], bool]) -> bool:
        async with asyncio.timeout(PATIENCE):
            while not heard():
                message = await self._socket.receive()
                if message.type is not WSMsgType.TEXT:
                    return False
                self.heard.append(json.loads(message.data))
        return True

    @property
    def changes(self) -> list[Any]:
        """The changes that it was told of."""
        return [frame["payload"]["data"] for frame in self.heard if frame["event"] == "postgres_changes"]


@asynccontextmanager
async def _listening(world: World, key: str | None) -> AsyncIterator[Listener]:
    url = f"{world.url}/realtime/v1/websocket?vsn=1.0.0{f'&apikey={key}' if key else ''}"
    async with ClientSession() as session, session.ws_connect(url) as socket:
        yield Listener(socket)


EVERYTHING = [
    {"event": "*", "schema": "public", "table": "changes"},
    {"event": "*", "schema": "public"},
    {"event": "*", "schema": "*"},
    {"event": "*", "schema": "public", "table": "customers"},
    {"event": "*", "schema": "app", "table": "operations"},
    {"event": "*", "schema": "auth", "table": "users"},
]


def _overhears(world: World, persona: Persona, bindings: list[Any]) -> list[Any]:
    """What `persona` is told while A writes; the control is what A's own listener is told of it."""

    async def listen() -> list[Any]:
        async with _listening(world, persona.key) as spy, _listening(world, world.anon_key) as owner:
            await owner.join(
                "realtime:own", world.admin_a.token, [{"event": "INSERT", "schema": "public", "table": "changes"}]
            )
            assert await owner.until("Subscribed to PostgreSQL")
            for place, binding in enumerate(bindings):
                await spy.join(f"realtime:spy{place}", persona.token, [binding])
            await spy.answered(len(bindings))
            made = await asyncio.to_thread(world.admin_a.post, "customers", {"company_name": f"{world.mark} overheard"})
            row = made.rows[0]["id"]
            assert await owner.until(row), "the control: the owner is told"
            # What comes for the spy comes in order: once a later change has come to whom it is for, A's would have been there.
            if persona.token is world.b.token:
                mine = await asyncio.to_thread(world.b.post, "customers", {"company_name": "own, overheard"})
                await spy.until(mine.rows[0]["id"])
            else:
                later = await asyncio.to_thread(
                    world.admin_a.post, "customers", {"company_name": f"{world.mark} later"}
                )
                assert await owner.until(later.rows[0]["id"])
                await spy.caught_up()
            await asyncio.to_thread(world.service.delete, f"customers?tenant_id=eq.{world.a}&id=eq.{row}")
            said = json.dumps(bindings)
            world.check(said, json.dumps(spy.heard))
            return spy.changes

    told = asyncio.run(listen())
    world.settle()
    return told


@SOCKETS("follow every table by Realtime")
def _(world: World) -> None:
    told = _overhears(world, world.b, EVERYTHING)
    assert {change["record"]["tenant_id"] for change in told if change.get("record")} == {world.b_tenant}


@SOCKETS("follow another tenant by a filter")
def _(world: World) -> None:
    bindings = [
        {"event": "*", "schema": "public", "table": "changes", "filter": written}
        for written in (
            f"tenant_id=eq.{world.a}",
            f"tenant_id=neq.{world.b_tenant}",
            f"tenant_id=in.({world.a},{world.b_tenant})",
            "position=gt.0",
            "",
        )
    ]
    told = _overhears(world, world.b, bindings)
    assert {change["record"]["tenant_id"] for change in told if change.get("record")} <= {world.b_tenant}


def _hears_nothing(name: str) -> Any:
    def strike(world: World) -> None:
        persona = {
            "anon": world.anon,
            "stray": world.stray,
            "expired": world.bearing(
                world.mint(exp=int(time.time()) - 60, app_metadata={"tenant_id": world.a, "role": "admin"})
            ),
            "forged": world.bearing(world.mint("x" * 40, app_metadata={"tenant_id": world.a, "role": "admin"})),
            "unsigned": world.bearing(
                world.mint(algorithm="none", app_metadata={"tenant_id": world.a, "role": "admin"})
            ),
            "postgres": world.bearing(
                world.mint(role="postgres", app_metadata={"tenant_id": world.b_tenant, "role": "admin"})
            ),
        }[name]
        assert [change for change in _overhears(world, persona, EVERYTHING) if change.get("record")] == []

    return strike


for _name in ("anon", "stray", "expired", "forged", "unsigned", "postgres"):
    SOCKETS(f"follow changes by Realtime with a token that is {_name}")(_hears_nothing(_name))


@SOCKETS("connect to Realtime without a key")
def _(world: World) -> None:
    async def connect(key: str | None) -> int:
        try:
            async with _listening(world, key):
                return 101
        except WSServerHandshakeError as error:
            return error.status

    for key in (None, "x", world.b.token):
        assert asyncio.run(connect(key)) in (401, 403), key is None
    assert asyncio.run(connect(world.anon_key)) == 101


@SOCKETS("follow changes after one was let go")
def _(world: World) -> None:
    made = world.b.post("users", {"email": f"{new_id()}@b.test", "display_name": "one", "role": "agent"}).rows[0]["id"]
    persona = world.member(world.b_tenant, "agent", user_id=made)

    async def listen() -> list[Any]:
        async with _listening(world, world.anon_key) as spy, _listening(world, world.anon_key) as owner:
            bindings = [{"event": "INSERT", "schema": "public", "table": "changes"}]
            await owner.join("realtime:own", world.b.token, bindings)
            await spy.join("realtime:spy", persona.token, bindings)
            assert await owner.until("Subscribed to PostgreSQL")
            assert await spy.until("Subscribed to PostgreSQL")
            first = await asyncio.to_thread(world.b.post, "tags", {"name": new_id()})
            assert await spy.until(first.rows[0]["id"]), "the control: until then they are told"
            await asyncio.to_thread(world.b.patch, f"users?id=eq.{made}", {"active": False})
            spy.heard.clear()
            after = await asyncio.to_thread(world.b.post, "tags", {"name": new_id()})
            assert await owner.until(after.rows[0]["id"])
            await spy.caught_up()
            return spy.changes

    assert asyncio.run(listen()) == []


@SOCKETS("tell others a change that was none")
def _(world: World) -> None:
    forged = {
        "ids": [1],
        "data": {"table": "changes", "type": "INSERT", "record": {"tenant_id": world.a, "record_id": "forged"}},
    }

    async def listen() -> list[Any]:
        async with _listening(world, world.anon_key) as owner, _listening(world, world.anon_key) as evil:
            bindings = [{"event": "*", "schema": "public", "table": "changes"}]
            await owner.join("realtime:shared", world.admin_a.token, bindings)
            await evil.join("realtime:shared", world.b.token, [])
            assert await owner.until("Subscribed to PostgreSQL")
            assert await evil.until('"ok"')
            for event in ("postgres_changes", "system", "phx_close", "broadcast"):
                payload = {"type": "broadcast", "event": event, "payload": forged} if event == "broadcast" else forged
                await evil._socket.send_json(
                    {"event": event, "topic": "realtime:shared", "payload": payload, "ref": "9", "join_ref": "1"}
                )
            sent = {"messages": [{"topic": "shared", "event": "postgres_changes", "payload": forged}]}
            await asyncio.to_thread(world.b.send, "POST", "/realtime/v1/api/broadcast", sent)
            made = await asyncio.to_thread(world.admin_a.post, "tags", {"name": f"{world.mark} {new_id()}"})
            assert await owner.until(made.rows[0]["id"])
            await asyncio.to_thread(world.service.delete, f"tags?tenant_id=eq.{world.a}&id=eq.{made.rows[0]['id']}")
            return owner.changes

    told = asyncio.run(listen())
    world.settle()
    assert told
    assert "forged" not in json.dumps(told)
