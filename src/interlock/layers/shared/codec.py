"""Answers as bytes, and back: msgpack of typed rows, never of anything that could run."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from interlock.contract import GroupRow, Identity, Request, Response, canonical
from interlock.entity import Entity

__all__ = ["Codec"]

_LARGEST: Final = 1 << 20
"""Bytes. A larger answer is not kept: it would hold up everybody else's."""

_NOBODY: Final = Identity("", "", "system")


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """A response without what differs from caller to caller."""

    rows: msgspec.Raw
    groups: tuple[tuple[tuple[Any, ...], tuple[Any, ...]], ...]
    total: int | None
    next_cursor: str | None
    backend: str


class Codec:
    """Encodes and decodes the answers of one backend, and makes their keys. `where` says which backend it is, and where it points; only a digest of it is used."""

    def __init__(self, where: str, entities: Mapping[str, Entity[Any]]) -> None:
        self._where = where
        self._rows = {
            resource: msgspec.msgpack.Decoder(tuple[entity.record, ...])  # type: ignore[name-defined]  # the type is known when it runs
            for resource, entity in entities.items()
        }
        # Another release of the entity reads and writes other rows: it is given none of these.
        self._seeds = {resource: _seed(where, entity) for resource, entity in entities.items()}
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Kept).decode

    def key(self, request: Request, whose: Hashable) -> bytes | None:
        """Equal for reads that have one answer; None for a read that is not to be kept."""
        seed = self._seeds.get(request.resource)
        if seed is None:
            return None
        bare = msgspec.structs.replace(request, epoch=0, operation_id="", identity=_NOBODY)
        try:
            asked = canonical(bare)
        except (TypeError, ValueError, msgspec.MsgspecError):
            return None
        parts = (request.identity.tenant_id, *(whose if isinstance(whose, tuple) else (whose,)))
        return hashlib.blake2b(self._encode(parts) + asked, digest_size=20, key=seed).digest()

    def encode(self, request: Request, answer: Response) -> bytes | None:
        """The answer as bytes; None for one that cannot be kept."""
        try:
            rows = msgspec.Raw(self._encode(answer.rows))
            groups = tuple((tuple(map(_plain, one.key)), tuple(map(_plain, one.values))) for one in answer.groups)
            value = self._encode(_Kept(rows, groups, answer.total, answer.next_cursor, answer.backend))
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
            return None
        return value if len(value) <= _LARGEST else None

    def decode(self, request: Request, value: bytes) -> Response | None:
        """The answer that was kept, marked as `cached`; None where it is not one for this request."""
        try:
            kept = self._decode(value)
            rows = self._rows[request.resource].decode(kept.rows)
            groups = tuple(GroupRow(tuple(map(_typed, k)), tuple(map(_typed, v))) for k, v in kept.groups)
        except (ValueError, TypeError, KeyError, ArithmeticError, msgspec.MsgspecError):
            return None
        tenant_id = request.identity.tenant_id
        if any(row.tenant_id != tenant_id for row in rows):
            return None
        return Response(
            rows,
            groups=groups,
            total=kept.total,
            next_cursor=kept.next_cursor,
            backend=kept.backend,
            cached=True,
            epoch=request.epoch,
        )


def _seed(where: str, entity: Entity[Any]) -> bytes:
    fields = [(f.name, f.wire, f.kind, f.nullable, f.choices) for f in entity.fields.values()]
    return hashlib.blake2b(repr(("1", where, entity.resource, fields)).encode(), digest_size=32).digest()


def _plain(value: Any) -> Any:
    """A group's key or value, with its type where msgpack would lose it."""
    match value:
        case datetime():
            return ["datetime", value.isoformat()]
        case date():
            return ["date", value.isoformat()]
        case Decimal():
            return ["decimal", str(value)]
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"a group holds a {type(value).__name__}")


def _typed(value: Any) -> Any:
    match value:
        case ["datetime", str(text)]:
            return datetime.fromisoformat(text)
        case ["date", str(text)]:
            return date.fromisoformat(text)
        case ["decimal", str(text)]:
            return Decimal(text)
    return value
