"""The kinds of values that settings have, as pydantic reads them."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

__all__ = [
    "DatabaseUrl",
    "Flag",
    "Lowered",
    "Port",
    "RedisUrl",
    "Seconds",
    "Share",
    "WebAddress",
    "Words",
    "flag",
    "lowered",
]

TRUE: Final = frozenset({"true", "1", "yes", "on"})
FALSE: Final = frozenset({"false", "0", "no", "off"})


def lowered(value: Any) -> Any:
    """Choices are written in any case, with hyphens or underscores."""
    return value.strip().lower().replace("-", "_") if isinstance(value, str) else value


def flag(value: Any) -> Any:
    """The bool that a word means; the word itself where it means none."""
    text = lowered(value)
    if text in TRUE:
        return True
    return False if text in FALSE else value


def web_address(value: str) -> str:
    """The address without a slash at its end. Raises ValueError where it is none, or where it holds more than that."""
    parts = urlsplit(value.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not a web address")
    if parts.username or parts.password:
        raise ValueError("holds credentials")
    if parts.query or parts.fragment:
        raise ValueError("has a query or a fragment")
    _ = parts.port  # raises ValueError where it is not a port
    return value.strip().rstrip("/")


def words(value: Any) -> Any:
    """A list written with commas."""
    if isinstance(value, str):
        return tuple(word for part in value.split(",") if (word := part.strip()))
    return value


def sql_url(value: SecretStr) -> SecretStr:
    """Raises ValueError for a database that the sql backend has no driver for."""
    scheme = urlsplit(value.get_secret_value()).scheme
    if scheme not in ("sqlite+aiosqlite", "postgresql+asyncpg"):
        raise ValueError("is not the address of a database that the sql backend speaks to")
    return value


def redis_url(value: SecretStr) -> SecretStr:
    """Raises ValueError for what is not the address of a Redis."""
    parts = urlsplit(value.get_secret_value())
    if parts.scheme not in ("redis", "rediss", "unix", "valkey", "valkeys") or not (parts.hostname or parts.path):
        raise ValueError("is not the address of a Redis")
    return value


Flag = Annotated[bool, BeforeValidator(flag)]
WebAddress = Annotated[str, AfterValidator(web_address)]
Words = Annotated[tuple[str, ...], BeforeValidator(words)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Lowered = BeforeValidator(lowered)

DatabaseUrl = Annotated[SecretStr, AfterValidator(sql_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(redis_url)]
