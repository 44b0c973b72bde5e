"""A way to somewhere that can be cut, at moments that a seed draws; and a watcher who accounts for all that they are told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from interlock.contract import Change

__all__ = ["Account", "Cutter", "cutting", "moments"]

_CHUNK = 65_536


class Cutter:
    """A TCP proxy. `cut` breaks every connection through it; while `shut`, new ones are broken too."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: set[asyncio.StreamWriter] = set()
        self._work: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.shut = False
        self.cuts = 0
        self.answered = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        self.cuts += 1
        for writer in tuple(self._open):
            writer.transport.abort()

    async def aclose(self) -> None:
        self.shut = True
        self.cut()
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*self._work, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.shut:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, inner_writer}
        self._open |= both
        try:
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer, self.answered))
        finally:
            self._open -= both
            for end in both:
                end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: asyncio.Event | None = None) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            if moved is not None:
                moved.set()
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


@asynccontextmanager
async def cutting(port: int) -> AsyncIterator[Cutter]:
    """A proxy to a port of the loopback."""
    cutter = Cutter(port)
    await cutter.open()
    try:
        yield cutter
    finally:
        await cutter.aclose()


def moments(seed: int, count: int, among: int) -> list[int]:
    """So many moments among the numbers of writes, in order."""
    return sorted(random.Random(seed).sample(range(1, among), count))


class Account:
    """What a watcher knows: each change that they were told of, and the versions that they read when told to read again."""

    def __init__(self, read_all: Callable[[], Awaitable[Iterable[Any]]]) -> None:
        self._read_all = read_all
        self.told: Counter[tuple[str, int]] = Counter()
        self.tenants: set[str] = set()
        self.resyncs = 0
        self._read: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self.disordered: list[Change] = []
        self.begun = asyncio.Event()
        self._moved = asyncio.Event()

    async def follow(self, stream: AsyncIterator[Change]) -> None:
        async for change in stream:
            if change.kind == "resync":
                self.resyncs += 1
                self._last.clear()
                for row in await self._read_all():
                    self._read[row.id] = max(row.version, self._read.get(row.id, 0))
                self.begun.set()
            else:
                self.told[change.record_id, change.version] += 1
                if change.version <= self._last.get(change.record_id, 0):
                    self.disordered.append(change)
                self._last[change.record_id] = change.version
                if change.row is not None:
                    self.tenants.add(change.row.tenant_id)
            self._moved.set()

    def missing(self, written: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """What they neither were told of nor have read."""
        return {
            (record_id, version)
            for record_id, version in written
            if (record_id, version) not in self.told and self._read.get(record_id, 0) < version
        }

    @property
    def doubled(self) -> set[tuple[str, int]]:
        """What they were told of twice."""
        return {change for change, times in self.told.items() if times > 1}

    async def until_whole(
        self, written: Iterable[tuple[str, int]], following: asyncio.Future[None], patience: float
    ) -> None:
        """Returns once nothing is missing. Raises what ended the watch."""
        wanted = set(written)
        ends = asyncio.get_running_loop().time() + patience
        while missing := self.missing(wanted):
            self._moved.clear()
            moved = asyncio.ensure_future(self._moved.wait())
            left = ends - asyncio.get_running_loop().time()
            await asyncio.wait((moved, following), timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()
            if following.done():
                following.result()
                raise AssertionError("the watch ended by itself")
            assert left > 0, (
                f"{len(missing)} of {len(wanted)} changes were never told of, such as {sorted(missing)[:3]}"
            )
