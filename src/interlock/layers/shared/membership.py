"""This process among those that share a cache: its lease, its writes, and when it may go on without the server.

Every process holds a lease on the server, renewed three times in its length. While the lease of any of them has lapsed, the server's scripts give no kept answer to
anybody. So a process that cannot reach the server holds back its writes' answers until its own lease must have lapsed; from then on nobody can
be given what its writes made old, and it goes on alone. Before it takes part again, everything kept becomes invalid.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec

from interlock.contract import Change, Request
from interlock.errors import DeadlineExceeded, InterlockError, OutcomeUnknown, Unavailable
from interlock.layers.invalidation import Invalidation
from interlock.layers.keys import Scope
from interlock.layers.shared.processes import describe_process, is_gone
from interlock.layers.shared.store import OutOfReach, Renewal, Store, Verdict

__all__ = ["Member", "Membership", "MembershipSettings"]

T = TypeVar("T")
Scopes = tuple[Scope, ...]

_BEGUN: Final = "the server has just begun, or has just lost a process"
_SEEN: Final = 10_000
"""Scopes whose last stamp is remembered. One that is forgotten costs a call of the backend that might have been shared."""


class MembershipSettings(msgspec.Struct, frozen=True):
    """All in seconds, and the same in every process that shares a server.

    `lease` is how long the others wait for a process that is silent, `margin` what clocks may go apart within it, `settle` within which a write whose outcome is not known
    lands if ever, `quarantine` how long a server serves nothing after it began, `forget_after` when a process that is cut off writes no more, and the others go on without it.
    """

    lease: float = 3.0
    margin: float = 0.5
    settle: float = 30.0
    quarantine: float = 30.0
    forget_after: float = 86_400.0


class Member(msgspec.Struct, frozen=True):
    """A registered process. `lapsed` is for how many seconds its lease has been over, 0 for one in good standing."""

    id: str
    lapsed: float
    here: bool = False


class Membership:
    """Make one for each process, `start` it, hand it to each `SharedCache`, and close it after them."""

    def __init__(
        self,
        store: Store,
        settings: MembershipSettings | None = None,
        *,
        told: Invalidation | None = None,
        member: str | None = None,
        gone: Callable[[str], bool] = is_gone,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.store = store
        self.settings = settings or MembershipSettings()
        self.member = member or f"{secrets.token_hex(8)} {describe_process()}"
        self._gone = gone
        self._clock = clock
        self._told = told or Invalidation()
        self._told.add(self)
        self._telling = False
        # The server: which run, its clock as last read, and when that was here.
        self._run = ""
        self._server = (0, 0.0)
        self._joined = False
        self._ever = False
        self._contact = 0.0
        self._lapses = 0.0
        self._elsewhere = 0.0
        self._others: dict[str, int] = {}
        self._remembered: tuple[str, ...] = ()
        self._quarantine = 0
        self._behind = 0
        self._closing = self._closed = False
        self._reason = "not started"
        # The writes: those under way, those that may still land, and the scopes of both.
        self._number = 0
        self._open: dict[str, Scopes] = {}
        self._writing: Counter[Scope] = Counter()
        self._unsettled: OrderedDict[Scopes, float] = OrderedDict()
        self._changing: Counter[Scope] = Counter()
        self._heard: set[Scope] = set()
        self._seen: OrderedDict[Scope, bytes] = OrderedDict()
        self._meeting = asyncio.Lock()
        self._woken = _Bell()
        self._met = _Bell()
        self._life: asyncio.Future[None] | None = None
        self._tasks: dict[asyncio.Task[Any], None] = {}

    # -- standing -------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """`serving`, or `bypassed: ` and the reason."""
        if self._joined and not self.store.connected:
            return "bypassed: the server stopped answering"
        return f"bypassed: {self._reason}" if self._reason else "serving"

    @property
    def member_of(self) -> str:
        """The run of the server whose member this process is, "" for none."""
        return self._run if self._joined else ""

    def members(self) -> tuple[Member, ...]:
        """Who was registered when the lease was last renewed."""
        now = self._server[0]
        return tuple(
            Member(one, max(0, now - expires) / 1000, one == self.member) for one, expires in self._others.items()
        )

    async def forget_member(self, member: str) -> bool:
        """Go on without a lapsed process, which must be known to be dead. False where there is no such lapsed one; raises `Unavailable` where the server is away."""
        try:
            await self._meet()
            expires = self._others.get(member)
            if expires is None or expires >= self._server[0]:
                return False
            await self.store.remove({member: expires})
            await self._meet()
        except OutOfReach as error:
            raise Unavailable(f"the shared cache's server is away ({error}); see INTERLOCK_REDIS_URL") from error
        return member not in self._others

    async def start(self) -> None:
        """Join, if the server is there, and keep the lease from now on."""
        await self._try()
        self._life = asyncio.ensure_future(self._live())

    async def aclose(self) -> None:
        """Finish the writes, deregister and let the connection go. Closing twice does nothing more."""
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
            with suppress(asyncio.CancelledError):
                await life
            self._closing = True
            while self._tasks:
                await asyncio.wait(tuple(self._tasks))
        if life is not None and self._ever:
            with suppress(OutOfReach):
                if not self._joined or not self.store.connected or self._behind:
                    await self._meet()
                # From here on, a write that the server can't be told of has nobody who would wait for it.
                self._closed = True
                await self.store.leave(self.member)
            self._closed = True
        self._joined, self._reason = False, "closed"
        await self.store.aclose()

    async def _live(self) -> None:
        while True:
            await self._woken.wait(self.settings.lease / 3)
            await self._try()

    async def _try(self) -> None:
        try:
            await self._meet()
        except OutOfReach as error:
            self._joined, self._reason = False, str(error)

    async def _meet(self) -> None:
        """Reach the server, tell it what it missed, and renew the lease."""
        async with self._meeting:
            await self._meet_alone()

    async def _meet_alone(self) -> None:
        if not self.store.connected:
            self._joined = False
            sent = self._now()
            run, now = await self.store.connect()
            self._server = (now, self._now())
            if run != self._run:
                # Whoever is still with the old server serves from it until our lease there is over.
                self._elsewhere = max(self._elsewhere, self._lapses)
                self._run, self._lapses = run, 0.0
                self._remembered = tuple(one for one in self._others if one != self.member)
            await self._catch_up(sent)
        await self._renew()
        await self._tidy()

    async def _catch_up(self, now: float) -> None:
        """Mark what is being written, and what may still land, before anybody serves again."""
        for operation, scopes in tuple(self._open.items()):
            await self.store.begin(scopes, operation)
        self._settle(now)
        for scopes in tuple(self._unsettled):
            await self.store.begin(scopes, f"{self.member[:16]}-late")

    async def _renew(self) -> None:
        lease = self.settings.lease
        for _ in range(2):
            sent = self._now()
            server, read = self._server
            behind = self._behind
            # The end is a time of the server's clock: a renewal that is carried out late, by a server that hung, gives no more than was asked for.
            expires = server + int((sent - read + lease) * 1000)
            self._lapses = max(self._lapses, sent + lease + self.settings.margin)
            renewed = await self.store.renew(
                Renewal(self.member, expires, not self._ever, behind > 0, self._remembered)
            )
            self._server = (renewed.now, self._now())
            if renewed.accepted:
                break
        else:
            raise OutOfReach("the server's clock is not steady")
        if self._behind == behind:
            self._behind = 0
        self._contact = sent
        self._others, self._quarantine, self._remembered = renewed.members, renewed.quarantine, ()
        self._joined = self._ever = True
        self._reason = self._waiting()
        self._met.ring()

    async def _tidy(self) -> None:
        """Remove those that are dead, or were forgotten."""
        now = self._server[0]
        old = now - int(self.settings.forget_after * 1000)
        lapsed = {
            one: expires
            for one, expires in self._others.items()
            if one != self.member and expires < now and (expires < old or self._gone(one))
        }
        if lapsed:
            await self.store.remove(lapsed)

    def _waiting(self) -> str:
        """For what everybody waits."""
        now = self._server[0]
        if self._quarantine > now:
            return _BEGUN
        lapsed = [one.partition(" ")[0] for one, expires in self._others.items() if expires < now]
        return f"waiting for {', '.join(lapsed)}, which cannot reach the server" if lapsed else ""

    # -- reading --------------------------------------------------------------------------------------------------

    def may_read(self, scope: Scope) -> bool:
        """False where the scope's reads go to the backend without asking the server."""
        if scope in self._changing or scope in self._heard:
            return False
        return self._joined and self.store.connected and not self._behind

    def alone(self, scope: Scope) -> None:
        """A read is about to go to the backend, and nothing is known of the others' writes: it joins no call from before."""
        self._tell(scope)

    def saw(self, scope: Scope, verdict: Verdict, stamp: bytes) -> bool:
        """The server's verdict on a read. False where the read goes to the backend alone."""
        if verdict in ("serve", "pending"):
            if verdict == "serve":
                self._reason = ""
            # While somebody writes, one may see what was written and the next one join a call from before it.
            if self._seen.get(scope) != stamp or verdict == "pending":
                # Somebody wrote: who reads from now on joins no call from before it.
                self._tell(scope)
                # A mark that expires leaves the stamp as it was: the first to read after it joins no call from before its end either.
                self._seen[scope] = stamp if verdict == "serve" else b""
                if len(self._seen) > _SEEN:
                    self._seen.popitem(last=False)
            return True
        if verdict == "lapsed":
            self._woken.ring()
        self._reason = {
            "quarantine": _BEGUN,
            "lapsed": "this process's lease lapsed",
            "waiting": self._reason or "waiting for a process that cannot reach the server",
        }[verdict]
        self._tell(scope)
        return False

    def _tell(self, scope: Scope) -> None:
        self._telling = True
        try:
            self._told.changed(scope[0], Change(kind="resync", resource=scope[1]))
        finally:
            self._telling = False

    # -- writing --------------------------------------------------------------------------------------------------

    async def write(self, request: Request, scopes: Scopes, send: Callable[[Request], Awaitable[T]]) -> T:
        """The answer of a write, once nobody can be given what it made old."""
        self._refuse()
        self._number += 1
        operation = f"{self.member[:16]}-{self._number}"
        self._open[operation] = scopes
        self._writing.update(scopes)
        sent = False
        try:
            await self._announce(scopes, operation, request.deadline)
            sent = True
            answer = await send(request)
        except InterlockError as error:
            self._spawn(self._finish(operation, known=error.status < 500))
            raise
        except BaseException:
            self._spawn(self._finish(operation, known=not sent))
            raise
        finished = self._spawn(self._finish(operation, known=True))
        timeout = None if request.deadline is None else max(0.0, request.deadline - self._loop_now())
        await asyncio.wait({finished}, timeout=timeout)
        if not finished.done():
            raise (
                OutcomeUnknown(
                    request.operation_id, "the write was accepted, and other processes may not know of it yet"
                )
                if request.operation_id
                else DeadlineExceeded()
            )
        finished.result()
        return answer

    async def _announce(self, scopes: Scopes, operation: str, deadline: float | None) -> None:
        """Mark the scopes; where the server is out of reach, wait until nobody gives kept answers. Raises `DeadlineExceeded`."""
        while True:
            try:
                await self.store.begin(scopes, operation)
                when = self._elsewhere
            except OutOfReach:
                when = max(self._lapses, self._elsewhere)
            now = self._now()
            if now >= when:
                return
            if deadline is not None:
                left = deadline - self._loop_now()
                if left <= 0:
                    raise DeadlineExceeded(
                        "the deadline passed before the write was sent: the shared cache's server is away"
                    )
                when = min(when, now + left)
            await self._until(when)

    def _refuse(self) -> None:
        """Raise where a write could never be made known."""
        if self._closing:
            raise Unavailable("the shared cache is closed")
        if not self._ever:
            raise Unavailable(
                f"no write is accepted before the shared cache's server was reached once ({self._reason}); see INTERLOCK_REDIS_URL",
                retry_after=1.0,
            )
        if self._now() - self._contact > self.settings.forget_after - 60 - self.settings.settle:
            raise Unavailable(
                "this process has been cut off from the shared cache's server for so long that the others go on without it; "
                "mend INTERLOCK_REDIS_URL, or take it away from every process",
                retry_after=1.0,
            )

    async def _finish(self, operation: str, *, known: bool) -> None:
        """The scopes' kept answers become invalid, on the server, or by the end of our lease."""
        scopes = self._open[operation]
        try:
            while True:
                try:
                    await (self.store.end if known else self.store.begin)(scopes, operation)
                    break
                except OutOfReach:
                    if self._closed:
                        raise OutcomeUnknown(operation, "the process closed while it wrote") from None
                    if self._now() >= max(self._lapses, self._elsewhere):
                        self._behind += 1
                        break
                    await self._until(max(self._lapses, self._elsewhere))
            while self._now() < self._elsewhere:
                await self._until(self._elsewhere)
            if not known:
                self._settle(self._now())
                self._unsettled[scopes] = self._now() + self.settings.settle
                self._unsettled.move_to_end(scopes)
        finally:
            del self._open[operation]
            self._writing.subtract(scopes)
            for scope in scopes:
                if not self._writing[scope]:
                    del self._writing[scope]
                    self._heard.discard(scope)

    async def _until(self, when: float) -> None:
        """Until then, or until the server was met."""
        # The least keeps a clock that stands still from being asked for ever.
        await self._met.wait(max(0.001, when - self._now()))

    def _settle(self, now: float) -> None:
        """Forget what must have landed."""
        while self._unsettled and next(iter(self._unsettled.values())) <= now:
            self._unsettled.popitem(last=False)

    async def retire(self, service: str) -> None:
        """Nothing that was kept of a service is given again: call it when its route changes."""
        try:
            await self.store.retire(service)
        except OutOfReach:
            self._behind += 1

    def forget(self, scope: Scope, records: tuple[str, ...] | None) -> None:
        """Somebody wrote beside us all. Until the server knows, reads of the scope here go past it."""
        if self._telling or not self._ever:
            return
        if scope in self._writing:
            # Perhaps the echo of the write that is under way here. The end of that one tells the server; its mark may have expired before.
            self._heard.add(scope)
            return
        self._changing[scope] += 1
        self._spawn(self._changed(scope))

    async def _changed(self, scope: Scope) -> None:
        try:
            await self.store.end((scope,), "")
        except OutOfReach:
            self._behind += 1
        finally:
            self._changing[scope] -= 1
            if not self._changing[scope]:
                del self._changing[scope]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled():
            # Whoever waits for it is told; where nobody does, nothing is to be said.
            task.exception()

    def _now(self) -> float:
        return (self._clock or asyncio.get_running_loop().time)()

    def _loop_now(self) -> float:
        return asyncio.get_running_loop().time()


class _Bell:
    """Wakes all who wait at the moment. (`asyncio.wait_for` would do, but in Python 3.11 it may lose a cancellation.)"""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}

    def ring(self) -> None:
        for place in tuple(self._waiting):
            _wake(place)

    async def wait(self, seconds: float) -> None:
        """Until it rings, or for so long."""
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _wake, place)
        self._waiting[place] = None
        try:
            await place
        finally:
            timer.cancel()
            del self._waiting[place]


def _wake(place: asyncio.Future[None]) -> None:
    if not place.done():
        place.set_result(None)
