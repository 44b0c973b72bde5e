"""A simulated server of the shared cache, for runs on a simulated clock: not Redis, but held to the same steps as the real one by a test.

::

    server = SimulatedServer(draw)
    one, two = SimulatedStore(server, draw), SimulatedStore(server, draw)   # two processes
    one.cut = True                                                         # the first can't reach it
    server.restart()                                                       # everything is gone
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

from interlock.layers.keys import Scope
from interlock.layers.shared.membership import MembershipSettings
from interlock.layers.shared.store import Found, Kept, OutOfReach, Renewal, Renewed, Verdict

__all__ = ["SimulatedServer", "SimulatedStore"]

T = TypeVar("T")
Entry = tuple[bytes, bytes, int, int, int]


class SimulatedServer:
    """What the server holds, and its steps, each at one moment. `skew` is added to its clock, in milliseconds."""

    def __init__(self, draw: random.Random, settings: MembershipSettings | None = None) -> None:
        self.draw = draw
        self.settings = settings or MembershipSettings()
        self.skew = 1_000_000
        self.hung: asyncio.Event | None = None
        self.down = False
        self.run = ""
        self.served = 0
        self.restart()

    def restart(self) -> None:
        """Start anew, with nothing."""
        self.run = self.token().hex()
        self.members: dict[str, int] | None = None
        self.quarantine = 0
        self.clock = 0
        self.epoch = b""
        self.services: dict[str, bytes] = {}
        self.scopes: dict[Scope, bytes] = {}
        self.marks: dict[Scope, dict[str, int]] = {}
        self.entries: dict[bytes, Entry] = {}
        self.refreshing: dict[bytes, int] = {}
        self.lost = 0

    def token(self) -> bytes:
        """A name that nothing has had."""
        return self.draw.getrandbits(64).to_bytes(8, "big")

    def now(self) -> int:
        """The server's clock."""
        return int(asyncio.get_running_loop().time() * 1000) + self.skew

    def evict(self, scope: Scope) -> None:
        """Memory is short: the state of a scope goes, marks and all."""
        self.scopes.pop(scope, None)
        self.marks.pop(scope, None)
        self.lost = self.now()

    def renew(self, renewal: Renewal) -> Renewed:
        now, settings = self.now(), self.settings
        lease = int(settings.lease * 1000)
        if not now < renewal.expires <= now + lease + 50:
            return Renewed(False, now, {}, 0)
        began = self.members is None
        members = self.members = self.members or {}
        if began:
            self.epoch, self.quarantine = self.token(), now + int(settings.quarantine * 1000)
        if now + 100 < self.clock:
            self.epoch, self.quarantine = self.token(), now + int(settings.quarantine * 1000)
            for one, expires in members.items():
                members[one] = min(expires, now + lease)
        self.clock = now
        if self.quarantine > now:
            for one in renewal.remembered:
                members.setdefault(one, now - 1)
        mine = members.get(renewal.member)
        if renewal.behind or (mine is None and not renewal.first) or (mine is not None and mine < now):
            self.epoch = self.token()
        members[renewal.member] = max(mine or 0, renewal.expires)
        return Renewed(True, now, dict(members), self.quarantine)

    def remove(self, lapsed: dict[str, int]) -> None:
        now, members = self.now(), self.members or {}
        gone = [one for one, expires in lapsed.items() if members.get(one) == expires < now]
        for one in gone:
            del members[one]
        if gone:
            self.epoch = self.token()
            self.quarantine = max(self.quarantine, now + int(self.settings.settle * 1000))

    def leave(self, member: str) -> None:
        if self.members is not None:
            self.members.pop(member, None)

    def verdict(self, member: str) -> Verdict:
        now = self.now()
        if self.members is None or self.members.get(member, 0) < now:
            return "lapsed"
        if self.quarantine > now or now + 100 < self.clock:
            return "quarantine"
        return "waiting" if min(self.members.values()) < now else "serve"

    def known(self, scope: Scope) -> None:
        """A scope that is not known may have been evicted, with marks that still hold."""
        if scope not in self.scopes:
            self.scopes[scope] = self.token()
            if self.lost and self.lost + int(self.settings.settle * 1000) > self.now():
                self.marks.setdefault(scope, {})["?"] = self.lost + int(self.settings.settle * 1000)

    def stamp(self, service: str, scope: Scope) -> bytes:
        self.known(scope)
        return self.epoch + self.services.setdefault(service, self.token()) + self.scopes[scope]

    def marked(self, scope: Scope) -> bool:
        marks, now = self.marks.get(scope, {}), self.now()
        for operation in [operation for operation, until in marks.items() if until < now]:
            del marks[operation]
        return bool(marks)

    def read(self, member: str, service: str, scope: Scope, key: bytes) -> Found:
        verdict, now = self.verdict(member), self.now()
        if verdict != "serve":
            return Found(verdict)
        stamp = self.stamp(service, scope)
        if self.marked(scope):
            return Found("pending", stamp)
        entry = self.entries.get(key)
        if entry is None or entry[0] != stamp or entry[4] < now:
            return Found("serve", stamp)
        self.served += 1
        if entry[3] <= now:
            return Found("serve", stamp, entry[1], "ended")
        if entry[2] <= now and self.refreshing.get(key, 0) < now:
            self.refreshing[key] = now + 10_000
            return Found("serve", stamp, entry[1], "refresh")
        return Found("serve", stamp, entry[1])

    def keep(self, member: str, service: str, scope: Scope, key: bytes, stamp: bytes, kept: Kept) -> None:
        if self.verdict(member) != "serve" or self.stamp(service, scope) != stamp or self.marked(scope):
            return
        now = self.now()
        self.entries[key] = (stamp, kept.value, now + kept.refresh, now + kept.ends, now + kept.drop)

    def begin(self, scopes: tuple[Scope, ...], operation: str) -> None:
        for scope in scopes:
            self.known(scope)
            self.scopes[scope] = self.token()
            self.marks.setdefault(scope, {})[operation] = self.now() + int(self.settings.settle * 1000)

    def end(self, scopes: tuple[Scope, ...], operation: str) -> None:
        for scope in scopes:
            self.known(scope)
            self.scopes[scope] = self.token()
            self.marks.get(scope, {}).pop(operation, None)

    def retire(self, service: str) -> None:
        self.services[service] = self.token()


class SimulatedStore:
    """One process's way to a simulated server, with the ways of real ones: steps and answers take their time and get lost, and a step that was given up is still carried out."""

    def __init__(
        self, server: SimulatedServer, draw: random.Random, *, patience: float = 0.1, loss: float = 0.0
    ) -> None:
        self._server = server
        self._draw = draw
        self._patience = patience
        self.loss = loss
        self.cut = False
        self._run = ""
        self._connection = 0
        self._line: asyncio.Lock = asyncio.Lock()
        self._sent: set[asyncio.Task[None]] = set()
        self.steps = 0

    @property
    def connected(self) -> bool:
        """False once a step failed, until `connect`."""
        return bool(self._run)

    async def connect(self) -> tuple[str, int]:
        """A new connection."""
        self._connection += 1
        self._line = asyncio.Lock()
        self._run = self._server.run
        run = self._run
        return run, await self._step(self._server.now)

    async def _step(self, step: Callable[[], T]) -> T:
        if not self._run:
            raise OutOfReach("not connected")
        if self.cut or self._server.down:
            self._fail(self._connection)
            raise OutOfReach("no route to it")
        connection, line = self._connection, self._line
        loop = asyncio.get_running_loop()
        place: asyncio.Future[T] = loop.create_future()
        lost = self._draw.random() < self.loss
        task = asyncio.ensure_future(self._carry_out(step, place, self._run, line, lost=lost))
        self._sent.add(task)
        task.add_done_callback(self._sent.discard)
        timer = loop.call_later(self._patience, _fail, place, "no answer in time")
        try:
            return await place
        except OutOfReach:
            self._fail(connection)
            raise
        finally:
            timer.cancel()

    def _fail(self, connection: int) -> None:
        if connection == self._connection:
            self._run = ""

    async def _carry_out(
        self, step: Callable[[], T], place: asyncio.Future[T], run: str, line: asyncio.Lock, *, lost: bool
    ) -> None:
        # Steps of one connection are carried out in the order in which they were sent.
        async with line:
            await asyncio.sleep(self._draw.choice((0, 0, 0.0005, 0.002)))
            while self._server.hung is not None:
                await self._server.hung.wait()
            if self._server.run != run or self._server.down:
                _fail(place, "the connection broke")
                return
            self.steps += 1
            result = step()
        await asyncio.sleep(self._draw.choice((0, 0, 0.0005)))
        if lost or self.cut:
            return
        if not place.done():
            place.set_result(result)

    async def renew(self, renewal: Renewal) -> Renewed:
        return await self._step(lambda: self._server.renew(renewal))

    async def remove(self, lapsed: dict[str, int]) -> None:
        await self._step(lambda: self._server.remove(lapsed))

    async def leave(self, member: str) -> None:
        await self._step(lambda: self._server.leave(member))

    async def read(self, member: str, service: str, scope: Scope, key: bytes) -> Found:
        return await self._step(lambda: self._server.read(member, service, scope, key))

    async def keep(self, member: str, service: str, scope: Scope, key: bytes, stamp: bytes, kept: Kept) -> None:
        await self._step(lambda: self._server.keep(member, service, scope, key, stamp, kept))

    async def begin(self, scopes: tuple[Scope, ...], operation: str) -> None:
        await self._step(lambda: self._server.begin(scopes, operation))

    async def end(self, scopes: tuple[Scope, ...], operation: str) -> None:
        await self._step(lambda: self._server.end(scopes, operation))

    async def retire(self, service: str) -> None:
        await self._step(lambda: self._server.retire(service))

    async def aclose(self) -> None:
        """Let the connection go. What was sent is still carried out."""
        self._run = ""
        await asyncio.gather(*self._sent, return_exceptions=True)


def _fail(place: asyncio.Future[T], reason: str) -> None:
    if not place.done():
        place.set_exception(OutOfReach(reason))
