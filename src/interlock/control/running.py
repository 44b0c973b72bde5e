"""Runs a transaction: on SQLite in a thread of its own, on PostgreSQL over the pool. What is run is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from interlock.errors import Misconfigured, Unavailable

__all__ = ["Runs", "runner_for"]

T = TypeVar("T")
Work = Callable[[Connection], T]


class Runs(Protocol):
    """Runs work in one transaction, and answers when it is durable."""

    async def run(self, work: Work[T]) -> T: ...

    async def aclose(self) -> None: ...


def runner_for(url: str) -> Runs:
    """What runs transactions at this address. Raises `Misconfigured` for one that is no SQLite file and no PostgreSQL; never shows a password."""
    try:
        kind = make_url(url).drivername
    except ArgumentError:
        kind = ""
    if kind == "sqlite+aiosqlite":
        return _Sqlite(url)
    if kind == "postgresql+asyncpg":
        return _Postgres(url)
    raise Misconfigured(
        ["the control store's address is none; begin it with sqlite+aiosqlite:/// or postgresql+asyncpg://"]
    )


class _Sqlite:
    """One connection, in one thread: SQLite takes one writer at a time anyway, and a batch crosses to the thread once."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(
            make_url(url).set(drivername="sqlite"),
            pool_size=1,
            max_overflow=0,
            connect_args={"check_same_thread": False},
        )
        event.listen(self._engine, "connect", _prepared)
        event.listen(self._engine, "begin", _begun)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="interlock-control")

    async def run(self, work: Work[T]) -> T:
        return await asyncio.wrap_future(self._thread.submit(self._run, work))

    def _run(self, work: Work[T]) -> T:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise _away(error) from error

    async def aclose(self) -> None:
        await asyncio.wrap_future(self._thread.submit(self._engine.dispose))
        self._thread.shutdown()


class _Postgres:
    def __init__(self, url: str) -> None:
        self._engine = create_async_engine(url, pool_size=8, connect_args={"timeout": 10, "command_timeout": 30})

    async def run(self, work: Work[T]) -> T:
        try:
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)
        except IntegrityError:
            raise
        except (DBAPIError, OSError, TimeoutError) as error:
            raise _away(error) from error

    async def aclose(self) -> None:
        await self._engine.dispose()


def _prepared(raw: Any, _: object) -> None:
    raw.isolation_level = None  # we say BEGIN ourselves
    for line in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
        raw.execute(f"PRAGMA {line}").close()


def _begun(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _away(error: Exception) -> Unavailable:
    return Unavailable(f"the control store does not answer ({type(getattr(error, 'orig', None) or error).__name__})")
