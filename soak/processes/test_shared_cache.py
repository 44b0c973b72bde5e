"""Real processes over one database and one real server, while both are killed, stopped and cut apart: nothing read is older than what had been acknowledged."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from tests.patience import PATIENCE, until
from tests.shared_cache.conftest import server, shared_server

from interlock.backends.sql import SqlBackend, migrate
from interlock.contract import Identity, Request
from interlock.entities import ENTITIES
from interlock.entities.customer import Tag
from interlock.identifiers import new_id
from interlock.layers.shared import MembershipSettings
from interlock.testing.servers import RedisServer
from soak.processes.worker import Orders

__all__ = ["server", "shared_server"]

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = MembershipSettings(lease=0.6, margin=0.2, settle=1.0, quarantine=1.0)


class Event(NamedTuple):
    """What a process saw."""

    kind: str
    begin: float
    end: float
    record: str
    version: int
    cached: bool


class Worker:
    """A process of the shared cache, and what it printed."""

    def __init__(self, orders: Orders) -> None:
        command = [sys.executable, "-m", "soak.processes.worker", msgspec.json.encode(orders).decode()]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.events: list[Event] = []
        self.errors = 0
        self.ready = threading.Event()
        self.member = ""
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            parts = line.decode().split()
            if len(parts) != 6 or not line.endswith(b"\n"):
                continue  # it was killed while it wrote
            kind, begin, end, record, version, cached = parts
            if kind == "ready":
                self.member = record
                self.ready.set()
            elif kind == "error":
                self.errors += 1
            else:
                self.events.append(Event(kind, float(begin), float(end), record, int(version), cached == "1"))

    def send(self, which: signal.Signals) -> None:
        self.process.send_signal(which)

    def end(self) -> None:
        """Let it finish, and read what it said."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join()

    def after(self, when: float, kind: str = "read", *, cached: bool | None = None) -> int:
        """How many events began after a moment."""
        return sum(
            event.begin > when and event.kind == kind and (cached is None or event.cached == cached)
            for event in tuple(self.events)
        )


class Proxy:
    """A way to the server that can be cut: for one process the server is away, for the others it is not."""

    def __init__(self, target: Path) -> None:
        self._target = str(target)
        self._folder = tempfile.TemporaryDirectory(prefix="interlock-proxy-")
        self.path = Path(self._folder.name) / "socket"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._open: list[socket.socket] = []
        self.cut = False
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            with contextlib.suppress(OSError):
                far.connect(self._target)
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                # While it is cut, what is sent goes nowhere, and nobody is told.
                if not self.cut:
                    other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join()
        self._folder.cleanup()


def stale(workers: list[Worker]) -> tuple[list[str], int]:
    """The reads that were older than what had been acknowledged before they began; and how many were looked at that followed a write."""
    wrote = sorted((e.end, e.record, e.version) for w in workers for e in w.events if e.kind == "wrote")
    reads = sorted((e for w in workers for e in w.events if e.kind == "read"), key=lambda event: event.begin)
    newest: dict[str, int] = {}
    found, looked, place = [], 0, 0
    for read in reads:
        while place < len(wrote) and wrote[place][0] < read.begin:
            _, record, version = wrote[place]
            newest[record] = max(newest.get(record, 0), version)
            place += 1
        looked += read.record in newest
        if read.version < newest.get(read.record, 0):
            found.append(f"{read} after {newest[read.record]} was acknowledged")
    return found, looked


def address(database: Path) -> str:
    """What SQLAlchemy calls it."""
    return f"sqlite+aiosqlite:///{database}"


class Field:
    """Some workers over a database."""

    def __init__(
        self, database: Path, records: list[str], tenant: str, server: RedisServer, figures: dict[str, int]
    ) -> None:
        self.database = database
        self.figures = figures
        self.orders = Orders(server.url, address(database), records, tenant, SETTINGS)
        self.workers: list[Worker] = []

    def start(self, count: int, redis: str | None = None) -> list[Worker]:
        """More of them, all at work."""
        started = []
        for _ in range(count):
            seed = len(self.workers)
            worker = Worker(msgspec.structs.replace(self.orders, seed=seed, redis=redis or self.orders.redis))
            self.workers.append(worker)
            started.append(worker)
        for worker in started:
            assert worker.ready.wait(PATIENCE)
        return started

    def check(self, *, looked: int = 200) -> None:
        """End all; nothing was stale, and enough was looked at for that to say something."""
        for worker in self.workers:
            worker.end()
        found, seen = stale(self.workers)
        assert not found, found[:5]
        assert seen >= looked
        self.figures.update(reads=seen, processes=len(self.workers))


@pytest.fixture
async def field(server: RedisServer, tmp_path: Path, figures: dict[str, int]) -> AsyncIterator[Field]:
    database = tmp_path / "truth.db"
    await migrate(address(database))
    backend = SqlBackend(address(database), ENTITIES)
    await backend.open()
    me = Identity(new_id(), new_id(), "admin")
    rows = tuple(Tag(id=new_id(), name=str(n)) for n in range(4))
    await backend.handle(Request("create", "tags", me, rows=rows, operation_id=new_id()))
    await backend.aclose()
    made = Field(database, [row.id for row in rows], me.tenant_id, server, figures)
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.end()


def serves(workers: list[Worker], count: int = 100) -> None:
    """From now on, each of them gives kept answers again, and writes."""
    now = time.monotonic()
    for worker in workers:
        until(lambda worker=worker: worker.after(now, cached=True) >= count, "no kept answers")  # type: ignore[misc]  # the default binds the loop's worker
        until(lambda worker=worker: worker.after(now, "wrote") >= 3, "no writes")  # type: ignore[misc]  # as above


def goes_on(workers: list[Worker], count: int = 30, *, since: float | None = None) -> None:
    """From then on, which is now where nothing is said, each of them reads and writes, from wherever."""
    now = time.monotonic() if since is None else since
    for worker in workers:
        until(lambda worker=worker: worker.after(now) >= count, "no answers")  # type: ignore[misc]  # as above
        until(lambda worker=worker: worker.after(now, "wrote") >= 3, "no writes")  # type: ignore[misc]  # as above


def stand_still(worker: Worker, database: Path) -> None:
    """Stop it, at a moment in which it does not hold the lock that the others' writes would wait for."""
    while True:
        worker.send(signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(database, timeout=2, isolation_level=None)) as connection:
            try:
                connection.execute("begin immediate")
            except sqlite3.OperationalError:
                worker.send(signal.SIGCONT)
                goes_on([worker])
            else:
                connection.execute("rollback")
                return


async def test_calm(field: Field) -> None:
    workers = field.start(3)
    serves(workers, 500)
    field.check(looked=1000)
    assert not any(worker.errors for worker in workers)


async def test_a_process_is_killed(field: Field) -> None:
    killed, *others = field.start(3)
    serves([killed, *others])
    killed.send(signal.SIGKILL)
    goes_on(others)
    serves(others)
    field.check()


async def test_a_process_stands_still_past_its_lease(field: Field) -> None:
    stopped, *others = field.start(3)
    serves([stopped, *others])
    stand_still(stopped, field.database)
    lapsed = time.monotonic() + SETTINGS.lease + SETTINGS.margin
    goes_on(others, since=lapsed)
    assert not any(worker.after(lapsed, cached=True) for worker in others), "kept answers while one could not be told"
    stopped.send(signal.SIGCONT)
    serves([stopped, *others])
    field.check()


async def test_the_server_is_restarted(field: Field, server: RedisServer) -> None:
    workers = field.start(3)
    serves(workers)
    for _ in range(2):
        server.stop()
        goes_on(workers)
        server.start()
        serves(workers)
    field.check()


async def test_the_server_hangs(field: Field, server: RedisServer) -> None:
    workers = field.start(3)
    serves(workers)
    for _ in range(2):
        server.send(signal.SIGSTOP)
        goes_on(workers)
        server.send(signal.SIGCONT)
        serves(workers)
    field.check()


async def test_one_process_is_cut_off(field: Field, server: RedisServer) -> None:
    proxy = Proxy(server.socket)
    try:
        others, cut = field.start(2), field.start(1, f"unix://{proxy.path}")
        serves([*others, *cut])
        for _ in range(2):
            proxy.cut = True
            goes_on([*others, *cut])
            proxy.cut = False
            serves([*others, *cut])
        field.check()
    finally:
        proxy.close()


async def test_memory_is_short(field: Field, server: RedisServer) -> None:
    workers = field.start(2)
    serves(workers)
    used = 0
    for policy in ("allkeys-random", "noeviction"):
        server.command("CONFIG", "SET", "maxmemory-policy", policy)
        for _ in range(10):
            server.command("CONFIG", "SET", "maxmemory", "1")
            goes_on(workers, 5)
            server.command("CONFIG", "SET", "maxmemory", "0")
            used += 1
        serves(workers)
    field.check()
    assert used == 20
