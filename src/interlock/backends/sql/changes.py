"""Who watches what, and how changes reach them: our own after the commit, other processes' through the database.

On PostgreSQL other processes' writes come by LISTEN/NOTIFY, with ids only: the rows are read again. On SQLite the audit trail is looked
at for entries that this process did not write, while somebody watches.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec

from interlock.contract import Change
from interlock.errors import InterlockError
from interlock.identifiers import new_id

__all__ = ["CHANNEL", "Feed", "Hub", "Listener", "Notice", "Poller", "Watch", "notices_of"]

CHANNEL: Final = "interlock_changes"
_BUFFER: Final = 1000
_HISTORY: Final = 250
_TOPICS: Final = 1000
_NOTICE_BYTES: Final = 7500
"""PostgreSQL refuses payloads of 8000 bytes and more."""

Key = tuple[str, str]
"""Tenant and resource."""

_Row = tuple[str, str, str]
"""Tenant, resource and record id."""


class Notice(msgspec.Struct, frozen=True, array_like=True):
    """What one process tells the others: `writes` are kind, record id, version."""

    origin: str
    tenant_id: str
    resource: str
    writes: tuple[tuple[str, str, int], ...]


def notices_of(origin: str, tenant_id: str, changes: Sequence[Change]) -> Iterable[str]:
    """The payloads that tell of the changes of one resource."""
    if not changes:
        return
    part: list[tuple[str, str, int]] = []
    size = 0
    for change in changes:
        write = (change.kind, change.record_id, change.version)
        size += len(change.record_id) + 40
        if size > _NOTICE_BYTES - 500:
            yield _payload(origin, tenant_id, changes[0].resource, part)
            part, size = [], len(change.record_id) + 40
        part.append(write)
    yield _payload(origin, tenant_id, changes[0].resource, part)


def _payload(origin: str, tenant_id: str, resource: str, writes: Sequence[tuple[str, str, int]]) -> str:
    return msgspec.json.encode(Notice(origin, tenant_id, resource, tuple(writes))).decode()


class Watch:
    """One watcher's changes, from the call of `changes()` on. Bounded: who reads too slowly gets one `resync`."""

    def __init__(self, resource: str, ready: Callable[[], Awaitable[None]]) -> None:
        self._resource = resource
        self._ready = ready
        self._waiting: deque[Change] = deque()
        self._arrived = asyncio.Event()
        self._closed = False
        self._asked = False

    def put(self, change: Change) -> None:
        """Hand a change over."""
        if len(self._waiting) >= _BUFFER:
            self._waiting.clear()
            change = Change(kind="resync", resource=self._resource, position=change.position)
        self._waiting.append(change)
        self._arrived.set()

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        if not self._asked:
            self._asked = True
            await self._ready()
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """End it; what waits is still given."""
        self._closed = True
        self._arrived.set()


class _Topic:
    """One tenant's watchers of one resource, and its last changes, for those who resume."""

    def __init__(self) -> None:
        self.watches: weakref.WeakSet[Watch] = weakref.WeakSet()
        self.history: deque[Change] = deque(maxlen=_HISTORY)

    def tell(self, change: Change) -> None:
        self.history.append(change)
        for watch in tuple(self.watches):
            watch.put(change)


class Hub:
    """The watchers of this process."""

    def __init__(self) -> None:
        self._run = new_id()
        self._count = 0
        self._topics: OrderedDict[Key, _Topic] = OrderedDict()
        self._committing: dict[_Row, set[int]] = {}
        self._held: dict[_Row, list[Change]] = {}

    @property
    def watched(self) -> bool:
        """True where somebody watches, or has watched and may resume."""
        return bool(self._topics)

    def watch(self, key: Key, after: str | None, ready: Callable[[], Awaitable[None]]) -> Watch:
        """A watch that has the changes from now on, or from `after` on."""
        topic = self._topics.get(key)
        known = topic is not None
        if topic is None:
            topic = self._topics[key] = _Topic()
        watch = Watch(key[1], ready)
        if after is not None:
            self._resume(watch, topic, key[1], after, known=known)
        topic.watches.add(watch)
        if len(self._topics) > _TOPICS:
            self._forget_some()
        return watch

    def _forget_some(self) -> None:
        unwatched = [key for key, topic in self._topics.items() if not topic.watches]
        for key in unwatched[: len(self._topics) - _TOPICS]:
            del self._topics[key]

    def _resume(self, watch: Watch, topic: _Topic, resource: str, after: str, *, known: bool) -> None:
        missed = list(topic.history)
        at = next((i for i, change in enumerate(missed) if change.position == after), None)
        if at is not None:
            for change in missed[at + 1 :]:
                watch.put(change)
        elif not known or after != self._position():
            watch.put(Change(kind="resync", resource=resource, position=self._position()))

    def _position(self) -> str:
        return f"{self._run}.{self._count}"

    def committing(self, tenant_id: str, changes: Iterable[Change]) -> None:
        """A transaction of this process is about to commit these; `ended` follows, whatever becomes of it."""
        if self._topics:
            for change in changes:
                row = (tenant_id, change.resource, change.record_id)
                self._committing.setdefault(row, set()).add(change.version)

    def publish(self, tenant_id: str, changes: Iterable[Change]) -> None:
        """Tell everybody who watches; of a record's versions the lower one first, although the news of its commit came later."""
        for change in changes:
            row = (tenant_id, change.resource, change.record_id)
            versions = self._committing.get(row)
            if versions is not None:
                versions.discard(change.version)
                if versions and min(versions) < change.version:
                    self._held.setdefault(row, []).append(change)
                    continue
            self._tell(tenant_id, change)

    def ended(self, tenant_id: str, changes: Iterable[Change]) -> None:
        """The transaction has committed, and was told of, or has not."""
        for change in changes:
            row = (tenant_id, change.resource, change.record_id)
            versions = self._committing.get(row)
            if versions is None:
                continue
            versions.discard(change.version)
            held = sorted(self._held.pop(row, ()), key=lambda one: one.version)
            if not versions:
                del self._committing[row]
            self.publish(tenant_id, held)

    def _tell(self, tenant_id: str, change: Change) -> None:
        topic = self._topics.get((tenant_id, change.resource))
        if topic is not None:
            self._count += 1
            topic.tell(msgspec.structs.replace(change, position=self._position()))

    def resync(self) -> None:
        """Changes may have been missed: everybody reads again."""
        self._count += 1
        for (_, resource), topic in self._topics.items():
            topic.history.clear()
            topic.tell(Change(kind="resync", resource=resource, position=self._position()))

    async def aclose(self) -> None:
        """End every watch."""
        for topic in self._topics.values():
            for watch in tuple(topic.watches):
                await watch.aclose()


class Feed(Protocol):
    """Brings other processes' changes to the hub, from its first use until it is closed."""

    async def ready(self) -> None:
        """Begin, and return when nothing can be missed any more."""
        ...

    async def aclose(self) -> None: ...


Reread = Callable[[Notice], Awaitable[Sequence[Change]]]


class Listener:
    """PostgreSQL's notifications. Where its connection breaks it makes a new one and tells everybody to read again."""

    def __init__(self, hub: Hub, connect: Callable[[], Awaitable[Any]], origin: str, reread: Reread) -> None:
        self._hub = hub
        self._connect = connect
        self._origin = origin
        self._reread = reread
        self._notices: asyncio.Queue[Notice | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    async def ready(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        waiting = asyncio.create_task(self._listening.wait())
        try:
            await asyncio.wait({waiting}, timeout=5.0)
        finally:
            waiting.cancel()

    async def _run(self) -> None:
        pause, first = 0.1, True
        while True:
            try:
                connection = await self._connect()
            except InterlockError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
                first = False
                continue
            try:
                connection.add_termination_listener(lambda _: self._notices.put_nowait(None))
                await connection.add_listener(CHANNEL, self._notified)
                self._listening.set()
                if not first:
                    self._hub.resync()
                pause, first = 0.1, False
                await self._deliver()
            except Exception:  # noqa: BLE001 - whatever broke it, the cure is a new connection and a resync
                await asyncio.sleep(pause)
            finally:
                self._listening.clear()
                connection.terminate()

    def _notified(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        try:
            notice = msgspec.json.decode(str(payload), type=Notice)
        except msgspec.DecodeError:
            return
        if notice.origin != self._origin:
            self._notices.put_nowait(notice)

    async def _deliver(self) -> None:
        while (notice := await self._notices.get()) is not None:
            self._hub.publish(notice.tenant_id, await self._reread(notice))

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


Tail = Callable[[int | None], Awaitable[tuple[int, Sequence[Any]]]]
"""The audit entries behind a place (None: nothing but the end), with the new place."""


class Poller:
    """SQLite's audit trail, looked at while somebody watches."""

    def __init__(self, hub: Hub, tail: Tail, reread: Reread, interval: float) -> None:
        self._hub = hub
        self._tail = tail
        self._reread = reread
        self._interval = interval
        self._own: set[str] = set()
        self._place: int | None = None
        self._task: asyncio.Task[None] | None = None

    def own(self, entries: Iterable[Any]) -> None:
        """Entries that this process writes, told before their commit."""
        if self._place is not None:
            self._own.update(entry.id for entry in entries)

    async def ready(self) -> None:
        if self._task is None:
            self._place = 0
            self._place, _ = await self._tail(None)
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                self._place, entries = await self._tail(self._place)
                for entry in entries:
                    if entry.id in self._own:
                        self._own.discard(entry.id)
                    else:
                        await self._tell(entry)
            except InterlockError:
                continue

    async def _tell(self, entry: Any) -> None:
        kind = {"create": "created", "delete": "deleted", "restore": "restored"}.get(entry.action, "updated")
        notice = Notice("", entry.tenant_id, entry.target, ((kind, entry.record_id, 0),))
        self._hub.publish(entry.tenant_id, await self._reread(notice))
        self._hub.publish(
            entry.tenant_id, [Change(kind="created", resource="audit", record_id=entry.id, version=1, row=entry)]
        )

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
