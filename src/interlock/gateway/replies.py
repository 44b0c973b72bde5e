"""Answers: whole ones and streamed ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

__all__ = ["JSON", "Headers", "Reply", "Stream", "json_reply"]

Headers = list[tuple[bytes, bytes]]

JSON: Final = (b"content-type", b"application/json")

_encode = msgspec.json.Encoder().encode


class Reply(msgspec.Struct):
    """A whole answer. Header names are lower-case."""

    status: int
    headers: Headers
    body: bytes = b""


class Stream(msgspec.Struct):
    """An answer whose body comes piece by piece. It has begun before its first piece, so what can fail has been tried before."""

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]


def json_reply(value: Any, status: int = 200, headers: Headers | None = None) -> Reply:
    """A JSON answer. Decimals are texts, times are RFC 3339."""
    return Reply(status, [JSON, *(headers or ())], _encode(value))
