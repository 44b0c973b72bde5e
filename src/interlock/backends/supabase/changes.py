"""Watching a Supabase project: the log of changes is read, and Realtime tells when.

A watcher pulls pages along the log at its own speed, so nothing piles up here: who reads slowly finds the rest in the log, and who
comes after the log was pruned gets a `resync`. Without Realtime the log is looked at every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal

import msgspec
import structlog

from interlock.abilities import TokenSource
from interlock.backends.supabase.positions import Snapshot, mark_of, position_of, since_of
from interlock.backends.supabase.wakeups import Bell, Line, jitter
from interlock.contract import Change, Identity, Query, Request, Response
from interlock.errors import DeadlineExceeded, RateLimited, Unavailable

__all__ = ["Changes", "Pace"]

PAGE: Final = 500
"""Changes read at once."""

_TRIES: Final = 12

Call = Callable[[Identity, str, Mapping[str, Any]], Awaitable[bytes]]
"""Calls a function of the database under an identity, by POST, and answers its JSON. Raises the contract's errors only."""

Handle = Callable[[Request], Awaitable[Response]]

_log = structlog.get_logger("interlock")


class Pace(msgspec.Struct, frozen=True):
    """Seconds between two looks at the log: where Realtime tells of changes, where it does not, and after it told of one that
    cannot be read yet."""

    told: float = 30.0
    untold: float = 1.0
    early: float = 0.02


class _Written(msgspec.Struct, array_like=True):
    place: int
    kind: Literal["created", "updated", "deleted", "restored"]
    record_id: str
    version: int


class _Page(msgspec.Struct):
    position: str
    window: str | None
    resync: bool
    more: bool
    changes: list[_Written]


_page = msgspec.json.Decoder(_Page)


class Changes:
    """The watchers of one backend, and the connections to Realtime that they share: one for each identity."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        tokens: TokenSource,
        call: Call,
        handle: Handle,
        realtime: bool = True,
        pace: Pace | None = None,
    ) -> None:
        self._url = url
        self._key = key
        self._tokens = tokens
        self._call = call
        self._handle = handle
        self._realtime = realtime
        self._pace = pace or Pace()
        self._mark = mark_of(url)
        self._lines: dict[Identity, Line] = {}
        self._bells: set[Bell] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def watch(self, resource: str, identity: Identity, after: str | None = None) -> AsyncGenerator[Change, None]:
        """The changes of a resource, from now on or after a position. Ends when the backend is closed.

        Raises `Unauthenticated` where the identity's token is refused for good. What passes is waited for, and said in the log.
        """
        since = None if after is None else since_of(self._mark, after)
        failures, early, began = 0, 0, False
        with self._listening(resource, identity) as (bell, line):
            rang = True
            while not self._closing.is_set():
                bell.still()
                try:
                    page = await self._read(resource, identity, since)
                    rows = await self._rows(resource, identity, page)
                except (Unavailable, DeadlineExceeded, RateLimited) as error:
                    if self._closing.is_set():
                        return
                    if not began:
                        raise
                    failures += 1
                    if failures == 1:
                        _log.warning("changes cannot be read; trying again", resource=resource, error=error.code)
                    await self._pause(max(jitter(failures), getattr(error, "retry_after", None) or 0.0))
                    continue
                if failures:
                    _log.info("changes are read again", resource=resource)
                failures, began = 0, True
                if page.changes and not rang and line is not None:
                    line.suspect()
                if page.resync:
                    yield Change(kind="resync", resource=resource, position=position_of(self._mark, page.position))
                for written in page.changes:
                    yield self._change(resource, page, written, rows)
                since, rang = page.position, True
                if page.more:
                    continue
                if bell.ahead_of(Snapshot.parse(since.split(".")[1]), patient=early < _TRIES):
                    early += 1
                    await bell.wait(min(self._pace.early * 2**early, self._pace.untold))
                else:
                    early = 0
                    told = bell.live
                    rang = await bell.wait(self._pace.told if told else self._pace.untold) or not told

    async def _read(self, resource: str, identity: Identity, since: str | None) -> _Page:
        arguments = {"resource": resource, "since": since, "most": PAGE}
        try:
            return _page.decode(await self._call(identity, "interlock_changes", arguments))
        except msgspec.DecodeError as error:
            raise Unavailable("supabase answered no page of changes") from error

    async def _rows(self, resource: str, identity: Identity, page: _Page) -> dict[str, Any]:
        """The rows as they are now, which may be newer than the change that is told of."""
        ids = tuple(dict.fromkeys(written.record_id for written in page.changes))
        if not ids:
            return {}
        answer = await self._handle(Request("get", resource, identity, Query(deleted="with"), ids))
        return {row.id: row for row in answer.rows}

    def _change(self, resource: str, page: _Page, written: _Written, rows: dict[str, Any]) -> Change:
        last = not page.more and written is page.changes[-1]
        return Change(
            kind=written.kind,
            resource=resource,
            record_id=written.record_id,
            version=written.version,
            row=rows.get(written.record_id),
            position=position_of(self._mark, page.position if last else f"{page.window}.{written.place}"),
        )

    # -- connections ----------------------------------------------------------------------------------------------

    @contextmanager
    def _listening(self, resource: str, identity: Identity) -> Iterator[tuple[Bell, Line | None]]:
        bell, line = Bell(), None
        self._bells.add(bell)
        if self._realtime and not self._closing.is_set():
            line = self._lines.get(identity)
            if line is None:
                line = self._lines[identity] = Line(self._url, self._key, identity, self._tokens)
            line.add(resource, bell)
        try:
            yield bell, line
        finally:
            self._bells.discard(bell)
            if line is not None:
                line.remove(resource, bell)
                if not line.used and self._lines.get(identity) is line:
                    del self._lines[identity]
                    self._leave(line)

    def _leave(self, line: Line) -> None:
        leaving = asyncio.ensure_future(line.aclose())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def aclose(self) -> None:
        """End every watch and every connection."""
        self._closing.set()
        for bell in self._bells:
            bell.ring()
        lines, self._lines = self._lines, {}
        for line in lines.values():
            self._leave(line)
        await asyncio.gather(*self._leaving, return_exceptions=True)
