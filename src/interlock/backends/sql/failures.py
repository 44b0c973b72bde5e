"""The one place where native errors of SQLite, asyncpg and SQLAlchemy become Interlock's."""

from __future__ import annotations

import sqlite3

import asyncpg
from sqlalchemy import exc as sa

from interlock.errors import DeadlineExceeded, InterlockError, Invalid, Misconfigured, Unavailable

__all__ = ["MIGRATE", "is_clash", "is_lost", "is_transient", "is_unsent", "mapped"]

MIGRATE = "the database has not this version's tables: run `interlock migrate`"

_WRONG_SETTINGS = (
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
_NO_TABLES = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)


def native(error: BaseException) -> BaseException:
    """The driver's own error inside SQLAlchemy's wrappers."""
    while isinstance(error, sa.DBAPIError) and error.orig is not None:
        error = error.orig
    return error.__cause__ if isinstance(error.__cause__, asyncpg.PostgresError) else error


def is_lost(error: BaseException) -> bool:
    """True where the connection is gone, so that a new one may do."""
    found = native(error)
    # asyncpg's refusal of a value is an InterfaceError too, and a ValueError.
    return isinstance(found, _LOST) and not isinstance(found, ValueError)


def is_unsent(error: BaseException) -> bool:
    """True where the server had said goodbye to an idle connection, whose end the driver has not seen yet: it refuses, and sends nothing."""
    return isinstance(native(error), asyncpg.InternalClientError)


def is_clash(error: BaseException) -> bool:
    """True for a unique value that somebody else took between our look and our write."""
    found = native(error)
    return isinstance(found, asyncpg.UniqueViolationError) or (
        isinstance(found, sqlite3.IntegrityError) and "UNIQUE" in str(found)
    )


def is_transient(error: BaseException) -> bool:
    """True for a transaction that lost against another and may simply be run again."""
    return is_clash(error) or isinstance(
        native(error),
        (
            asyncpg.SerializationError,
            asyncpg.DeadlockDetectedError,
            asyncpg.LockNotAvailableError,
            asyncpg.InvalidCachedStatementError,  # a migration has changed the table under us
        ),
    )


def mapped(error: BaseException, name: str) -> InterlockError:
    """The error of ours for a native one of the backend `name`; raise it `from` the native one. Shows no URL and no value."""
    found = native(error)
    if isinstance(found, InterlockError):
        return found
    if isinstance(found, sqlite3.Error):
        return _sqlite(found, name)
    if isinstance(found, _NO_TABLES):
        return Misconfigured([f"{name}: {MIGRATE}"])
    if isinstance(found, _WRONG_SETTINGS):
        return Misconfigured(
            [f"{name}: PostgreSQL refused the log-in or the database ({type(found).__name__}); check the URL"]
        )
    if isinstance(found, asyncpg.QueryCanceledError):
        return DeadlineExceeded()
    if isinstance(found, (asyncpg.DataError, OverflowError, ValueError)):
        return Invalid({"record": f"has a value that the database cannot keep ({type(found).__name__})"})
    if isinstance(found, (TimeoutError, sa.TimeoutError)):
        return Unavailable(f"{name}: the database did not answer in time", retry_after=1.0)
    return Unavailable(
        f"{name}: the database is not there or does not answer sensibly ({type(found).__name__})", retry_after=1.0
    )


def _sqlite(error: sqlite3.Error, name: str) -> InterlockError:
    text = str(error)
    if "no such table" in text or "no such column" in text or "has no column" in text:
        return Misconfigured([f"{name}: {MIGRATE}"])
    if "unable to open" in text or "not a database" in text or "readonly" in text:
        return Misconfigured(
            [f"{name}: the database file cannot be opened or written, or is no SQLite database; check the path"]
        )
    if isinstance(error, sqlite3.DataError) or "too big" in text:
        return Invalid({"record": "has a value that the database cannot keep"})
    return Unavailable(f"{name}: SQLite could not do this ({type(error).__name__}: {text})", retry_after=1.0)
