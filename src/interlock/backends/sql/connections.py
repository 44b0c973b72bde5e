"""Connections: SQLAlchemy's pool, and the driver's own connection out of it, which runs compiled statements without a detour.

Reads run in autocommit. Writes run in one transaction each; on SQLite one at a time in this process (a lock) and among processes
(BEGIN IMMEDIATE with a busy timeout).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import asyncpg
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from interlock.backends.sql.dialects import Dialect, kilometres, postgres, sqlite
from interlock.backends.sql.failures import is_lost, is_unsent, mapped
from interlock.errors import InterlockError, Misconfigured, OutcomeUnknown

__all__ = ["Database", "Patience", "Session", "read_url"]

_BUSY_SECONDS: Final = 10.0
_COMMAND_SECONDS: Final = 60.0
"""Callers have deadlines; this one is for a server that hangs under a caller who has none."""

_RECOVERY_SECONDS: Final = 5.0
_DRIVERS: Final = ("sqlite+aiosqlite", "postgresql+asyncpg")


class Session(Protocol):
    """One connection: compiled statements with the values in their order."""

    async def fetch(self, sql: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]: ...

    async def execute(self, sql: str, values: Sequence[Any] = ()) -> None: ...

    async def execute_many(self, sql: str, values: Sequence[Sequence[Any]]) -> None: ...


class _PostgresSession:
    def __init__(self, raw: Any) -> None:
        self._raw = raw

    async def fetch(self, sql: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        found: Sequence[Sequence[Any]] = await self._raw.fetch(sql, *values)
        return found

    async def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        await self._raw.execute(sql, *values)

    async def execute_many(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        if len(values) == 1:
            await self._raw.execute(sql, *values[0])
        else:
            await self._raw.executemany(sql, values)


class _SqliteSession:
    def __init__(self, raw: Any) -> None:
        self._raw = raw

    async def fetch(self, sql: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        found: Sequence[Sequence[Any]] = await self._raw.execute_fetchall(sql, values)
        return found

    async def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        await self._raw.execute_fetchall(sql, values)

    async def execute_many(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        cursor = await self._raw.executemany(sql, values)
        await cursor.close()


def read_url(url: str) -> tuple[URL, Dialect]:
    """The URL with its driver, and the dialect. Raises `Misconfigured`; never shows the password."""
    try:
        found = make_url(url)
    except ArgumentError as error:
        raise Misconfigured([f"the database URL is none; write {' or '.join(f'{d}://…' for d in _DRIVERS)}"]) from error
    plain = found.drivername.replace("postgres+", "postgresql+")
    driver = {"sqlite": _DRIVERS[0], "postgres": _DRIVERS[1], "postgresql": _DRIVERS[1]}.get(plain, plain)
    if driver not in _DRIVERS:
        raise Misconfigured([f"no driver for {found.drivername!r}; write {' or '.join(f'{d}://…' for d in _DRIVERS)}"])
    if driver == _DRIVERS[0] and found.database in (None, "", ":memory:"):
        raise Misconfigured(
            ["SQLite in memory is a database for each connection; name a file: sqlite+aiosqlite:///path.db"]
        )
    return found.set(drivername=driver), sqlite() if driver == _DRIVERS[0] else postgres()


class Patience:
    """How often one call that meets dead connections is made again."""

    def __init__(self, pooled: int) -> None:
        self._unsent = pooled
        self._lost = 1

    def again(self, error: BaseException) -> bool:
        """True where a connection was dead and another one may do: once, and beyond that for each of the pool that sent nothing."""
        if is_unsent(error):
            self._unsent -= 1
            return self._unsent >= 0
        if is_lost(error):
            self._lost -= 1
            return self._lost >= 0
        return False


class Database:
    """The pools of one database. `reading` and `writing` lend sessions and map every native error."""

    def __init__(self, url: str, *, name: str, pool_size: int = 16, timeout: float = 10.0) -> None:
        self.url, self.dialect = read_url(url)
        self.name = name
        self._single = self.dialect.name == "sqlite"
        self._session: type[_PostgresSession] | type[_SqliteSession] = (
            _SqliteSession if self._single else _PostgresSession
        )
        self._timeout = timeout
        self._pool_size = pool_size
        self._readers = self._engine(pool_size)
        self._writers = self._engine(1) if self._single else self._readers
        self._write_lock = asyncio.Lock()
        self._recovering: set[asyncio.Task[None]] = set()

    def _engine(self, size: int) -> AsyncEngine:
        arguments: dict[str, Any] = (
            {"isolation_level": None, "timeout": _BUSY_SECONDS, "cached_statements": 256}
            if self._single
            else {"timeout": self._timeout, "statement_cache_size": 512, "command_timeout": _COMMAND_SECONDS}
        )
        engine = create_async_engine(
            self.url,
            connect_args=arguments,
            pool_size=size,
            # Connections beyond the pool would be made and thrown away for each call of a burst.
            max_overflow=0,
            pool_timeout=self._timeout,
            pool_reset_on_return=None,
            pool_use_lifo=True,
        )
        if self._single:
            event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        return engine

    @asynccontextmanager
    async def _lend(self, engine: AsyncEngine) -> AsyncIterator[Any]:
        while True:
            try:
                lent = await self._take(engine)
            except Exception as error:
                # Not one for another try on a new connection: there is none to be had.
                raise mapped(error, self.name) from error
            raw: Any = lent.driver_connection
            if self._single or not raw.is_closed():
                break
            # The server closed it while it lay in the pool, perhaps by a restart: the pool makes a new one.
            await greenlet_spawn(lent.invalidate)
        try:
            yield raw
        except asyncio.CancelledError:
            # The caller has gone in the middle of a statement; the connection is fit again when that has ended.
            self._afterwards(self._recover(lent, raw))
            raise
        except BaseException as error:
            await greenlet_spawn(lent.invalidate if is_lost(error) else lent.close)
            raise
        await greenlet_spawn(lent.close)

    async def _take(self, engine: AsyncEngine) -> Any:
        pool: Any = engine.pool
        if pool.checkedin():
            return await engine.raw_connection()
        # A new connection is made to the end even where the caller goes away: half a log-in is nothing that a driver gives up well.
        taking: asyncio.Task[Any] = asyncio.create_task(self._connect(engine))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._afterwards(self._give_back(taking))
            raise

    async def _connect(self, engine: AsyncEngine) -> Any:
        return await engine.raw_connection()

    async def _give_back(self, taking: asyncio.Task[Any]) -> None:
        with contextlib.suppress(Exception):
            await greenlet_spawn((await taking).close)

    def _afterwards(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._recovering.add(task)
        task.add_done_callback(self._recovering.discard)

    async def _recover(self, lent: Any, raw: Any) -> None:
        session = self._session(raw)
        try:
            async with asyncio.timeout(_RECOVERY_SECONDS):
                await session.execute("select 1")
                in_transaction = raw.in_transaction if self._single else raw.is_in_transaction()
                if in_transaction:
                    await session.execute("ROLLBACK")
            await greenlet_spawn(lent.close)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is thrown away
            await greenlet_spawn(lent.invalidate)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Session]:
        """A session in autocommit."""
        try:
            async with self._lend(self._readers) as raw:
                yield self._session(raw)
        except InterlockError:
            raise
        except Exception as error:
            raise mapped(error, self.name) from error

    async def read(self, sql: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """One select. Where the connection turns out to be dead, once more on a new one."""
        patience: Patience | None = None
        while True:
            try:
                return await self._read_once(sql, values)
            except InterlockError:
                raise
            except Exception as error:
                patience = patience or self.patience()
                if not patience.again(error):
                    raise mapped(error, self.name) from error

    def patience(self) -> Patience:
        """For one call."""
        return Patience(self._pool_size)

    async def _read_once(self, sql: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        async with self._lend(self._readers) as raw:
            return await self._session(raw).fetch(sql, values)

    @asynccontextmanager
    async def writing(
        self, operation_id: str = "", committed: Callable[[], None] | None = None
    ) -> AsyncIterator[Session]:
        """A session in a transaction, committed at the end and rolled back on any error.

        `committed` is called right after the commit, before anybody who waited for this transaction can end theirs.
        Native errors pass through unmapped, so that the writer may try again; a commit that broke is `OutcomeUnknown`.
        """
        if not self._single:
            async with self._lend(self._writers) as raw, self._transaction(raw, operation_id, committed) as session:
                yield session
            return
        async with (
            self._write_lock,
            self._lend(self._writers) as raw,
            self._transaction(raw, operation_id, committed) as session,
        ):
            yield session

    @asynccontextmanager
    async def _transaction(
        self, raw: Any, operation_id: str, committed: Callable[[], None] | None
    ) -> AsyncIterator[Session]:
        session = self._session(raw)
        await session.execute("BEGIN IMMEDIATE" if self._single else "BEGIN")
        try:
            yield session
        except Exception:
            await self._roll_back(session)
            raise
        try:
            await session.execute("COMMIT")
        except Exception as error:
            if is_lost(error):
                raise OutcomeUnknown(operation_id) from error
            await self._roll_back(session)
            raise
        if committed is not None:
            committed()

    async def _roll_back(self, session: Session) -> None:
        # The error that led here is the one to tell; a lost connection is dropped by `_lend`.
        with contextlib.suppress(Exception):
            await session.execute("ROLLBACK")

    async def driver(self) -> Any:
        """A connection of PostgreSQL's driver outside of the pool, for LISTEN."""
        _, given = self._readers.dialect.create_connect_args(self.url)
        try:
            return await asyncpg.connect(**given, timeout=self._timeout)
        except Exception as error:
            raise mapped(error, self.name) from error

    async def aclose(self) -> None:
        """Close the pools."""
        await asyncio.gather(*self._recovering, return_exceptions=True)
        await self._readers.dispose()
        if self._single:
            await self._writers.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    try:
        connection.create_function("interlock_km", 4, _km_or_none, deterministic=True)
        cursor = connection.cursor()
        for pragma in ("journal_mode = wal", "synchronous = full", "temp_store = memory", "cache_size = -32000"):
            cursor.execute(f"pragma {pragma}")
        cursor.close()
    except Exception:
        # The pool does not know it yet, and its thread would outlive us.
        connection.close()
        raise


def _km_or_none(lat: float, lon: float, other_lat: float | None, other_lon: float | None) -> float | None:
    return None if other_lat is None or other_lon is None else kilometres(lat, lon, other_lat, other_lon)
