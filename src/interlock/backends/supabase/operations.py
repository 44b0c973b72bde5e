"""Operation ids on their way: the headers that a trigger reads, and what a repeated request is answered with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from interlock.backends.supabase.codec import UNREADABLE, Codec
from interlock.backends.supabase.faults import fault_of
from interlock.contract import Outcome, Record, Request
from interlock.errors import InterlockError, Unavailable
from interlock.http import Reply
from interlock.operations import Rejection, error_of, fingerprint, rejection_of

__all__ = ["Done", "Operation", "Put", "done_of", "packed", "puts_of", "unpacked"]


class Operation:
    """One request's operation id and fingerprint. A request is sent in steps, each of them recorded by itself."""

    def __init__(self, request: Request, *, id: str | None = None) -> None:
        # A header carries plain letters only; an id that Interlock minted has no others.
        self.id = quote(request.operation_id if id is None else id, safe="")
        self.fingerprint = fingerprint(request).hex() if self.id else ""
        self._epoch = str(request.epoch)

    def headers(self, step: str, *, skip: bool = False) -> dict[str, str]:
        """What the database's triggers read. `skip` leaves out the rows that would be duplicates, and writes the others."""
        found = {"x-interlock-epoch": self._epoch}
        if self.id:
            found["x-interlock-operation"] = f"{self.id}/{step}"
            found["x-interlock-fingerprint"] = self.fingerprint
        if skip:
            found["x-interlock-duplicates"] = "skip"
        return found


class Done(NamedTuple):
    """What a step did, now or when it was first sent: the rows that came of it, and why it left others out, both by id."""

    rows: Mapping[str, Record]
    rejected: Mapping[str, InterlockError]

    def outcome(self, id: str) -> Outcome | None:
        """What became of an item, where that is known."""
        if id in self.rows:
            return Outcome(id, self.rows[id])
        return Outcome(id, error=self.rejected[id]) if id in self.rejected else None


class _Known(msgspec.Struct):
    rows: msgspec.Raw
    rejected: msgspec.Raw


class Put(msgspec.Struct):
    """What became of one image: written or not, and whose unique value was in the way."""

    id: str
    written: bool
    field: str | None = None
    existing_id: str | None = None


_known = msgspec.json.Decoder(_Known)
_puts = msgspec.json.Decoder(list[Put])
_rejections = msgspec.json.Decoder(list[tuple[str, Rejection]])


def _known_of(reply: Reply) -> _Known | None:
    fault = fault_of(reply)
    if fault.code != "PT409" or fault.message != "operation_done":
        return None
    try:
        return _known.decode(fault.details if isinstance(fault.details, str) else "")
    except UNREADABLE as error:
        raise Unavailable("supabase kept an operation that is not of this version; compare its migrations") from error


def done_of(codec: Codec, reply: Reply) -> Done | None:
    """What the step did when it was first sent, where the reply says that it was."""
    known = _known_of(reply)
    if known is None:
        return None
    return Done({row.id: row for row in codec.images(bytes(known.rows))}, unpacked(codec, bytes(known.rejected)))


def puts_of(reply: Reply) -> list[Put] | None:
    """What became of each image, now or when it was first sent; None for an error. Raises `Unavailable` for what is neither."""
    known = None if reply.status < 300 else _known_of(reply)
    if known is None and reply.status >= 300:
        return None
    try:
        return _puts.decode(reply.body if known is None else known.rejected)
    except UNREADABLE as error:
        raise Unavailable("supabase answered a put that is not of this version; compare its migrations") from error


def packed(rejected: Mapping[str, InterlockError]) -> list[tuple[str, Rejection]]:
    """Rejections as they are kept."""
    return [(one, rejection_of(error)) for one, error in rejected.items()]


def unpacked(codec: Codec, body: bytes) -> dict[str, InterlockError]:
    """Rejections as they were. Raises `Unavailable` for what is none."""
    try:
        return {one: error_of(codec.entity, one, kept, codec.current) for one, kept in _rejections.decode(body)}
    except UNREADABLE as error:
        raise Unavailable("supabase kept a rejection that is not of this version; compare its migrations") from error
