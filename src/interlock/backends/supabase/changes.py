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

from interlock.abilities import TokenSource
from interlock.backends.supabase.positions import Snapshot, mark_of, position_of, since_of
from interlock.backends.supabase.wakeups import Bell, Line, jitter
from interlock.contract import Change, Identity, Query, Request, Response
from interlock.errors import DeadlineExceeded, Forbidden, RateLimited, Unavailable
from interlock.log import get_logger

__all__ = ["Changes", "Pace"]

PAGE: Final = 500
"""Changes read at once."""

_TRIES: Final = 12
_SILENCES: Final = 2
"""Times that changes are found which Realtime did not tell of, until its connection is made again: it may be a little late."""


Call = Callable[[Identity, str, Mapping[str, Any]], Awaitable[bytes]]
"""Calls a function of the database under an identity, by POST, and answers its JSON. Raises the contract's errors only."""

Handle = Callable[[Request], Awaitable[Response]]

_log = get_logger("interlock")


class Pace(msgspec.Struct, frozen=True):
    """Seconds between two looks at the log: where Realtime tells of changes, where it does not (and once more after it told of some),
    and after it told of one that cannot be read yet."""

    told: float = 15.0
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


class _Ear:
    """When one watcher looks again: as soon as the bell rings, and now and then in case that it does not."""

    def __init__(self, bell: Bell, line: Line | None, pace: Pace) -> None:
        self.began = False
        self._bell = bell
        self._line = line
        self._pace = pace
        self._rang = True
        self._early = 0
        self._silences = 0

    def read(self, page: _Page) -> None:
        """What was found, by the bell or without it."""
        self.began = True
        self._silences = 0 if self._rang else self._silences + bool(page.changes)
        self._rang = self._rang or page.more
        if self._silences >= _SILENCES and self._line is not None:
            self._line.suspect()
            self._silences = 0

    async def wait(self, place: str) -> None:
        """Until it is time to look behind a place of the log."""
        pace, bell = self._pace, self._bell
        if bell.ahead_of(Snapshot.parse(place.split(".")[1]), patient=self._early < _TRIES):
            self._early += 1
            await bell.wait(min(pace.early * 2**self._early, pace.untold))
            return
        self._early = 0
        calm = bell.live and not self._rang
        self._rang = await bell.wait(pace.told if calm else pace.untold) or not bell.live


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
        with self._listening(resource, identity) as (bell, line):
            ear = _Ear(bell, line, self._pace)
            while not self._closing.is_set():
                bell.still()
                got = await self._page(resource, identity, since, patient=ear.began)
                if got is None:
                    return
                page, rows = got
                ear.read(page)
                if page.resync:
                    yield Change(kind="resync", resource=resource, position=position_of(self._mark, page.position))
                for written in page.changes:
                    yield self._change(resource, page, written, rows)
                since = page.position
                if not page.more:
                    await ear.wait(since)

    async def _page(
        self, resource: str, identity: Identity, since: str | None, *, patient: bool
    ) -> tuple[_Page, dict[str, Any]] | None:
        """The next page and its rows; None where the backend is closed. Without patience, what is away is raised at once."""
        failures = 0
        while not self._closing.is_set():
            try:
                page = await self._read(resource, identity, since)
                rows = await self._rows(resource, identity, page)
            except (Unavailable, DeadlineExceeded, RateLimited) as error:
                if self._closing.is_set():
                    return None
                if not patient:
                    raise
                failures += 1
                if failures == 1:
                    _log.warning("changes cannot be read; trying again", resource=resource, error=error.code)
                await self._pause(max(jitter(failures), getattr(error, "retry_after", None) or 0.0))
            else:
                if failures:
                    _log.info("changes are read again", resource=resource)
                return page, rows
        return None

    async def _read(self, resource: str, identity: Identity, since: str | None) -> _Page:
        arguments = {"resource": resource, "since": since, "most": PAGE}
        try:
            try:
                answer = await self._call(identity, "interlock_changes", arguments)
            except Forbidden:
                # A user may be revoked between the check of a request and its function; the check of the next one says so.
                answer = await self._call(identity, "interlock_changes", arguments)
            return _page.decode(answer)
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
