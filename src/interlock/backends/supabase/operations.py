"""Operation ids on their way: the headers that a trigger reads, what a repeated request is answered with, and rejections to be kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from interlock.backends.supabase.codec import Codec
from interlock.backends.supabase.faults import fault_of
from interlock.contract import Outcome, Record, Request, canonical
from interlock.errors import Conflict, Duplicate, InterlockError, NotFound, Unavailable
from interlock.http import Reply

__all__ = ["Known", "Operation", "known_of", "pack", "unpack"]


class Operation:
    """One request's operation id and fingerprint. A request is sent in steps, each of them recorded by itself."""

    def __init__(self, request: Request) -> None:
        # Letters that a header cannot carry are escaped; an id that Interlock minted has none.
        self.id = quote(request.operation_id, safe="")
        self.given = request.operation_id
        self.fingerprint = (
            hashlib.sha256(canonical(msgspec.structs.replace(request, epoch=0))).hexdigest() if self.id else ""
        )
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


class Known(msgspec.Struct):
    """What a step answered at first: the images of the rows it wrote, and what became of the others."""

    rows: msgspec.Raw = msgspec.Raw(b"[]")
    rejected: list[Rejected] = []


class Rejected(msgspec.Struct, omit_defaults=True):
    """One item that was not written. `place` is where it stands in its step."""

    place: int
    code: str
    field: str = ""
    existing_id: str | None = None
    expected_version: int | None = None
    current: msgspec.Raw = msgspec.Raw(b"null")


_known = msgspec.json.Decoder(Known)
_encode = msgspec.json.Encoder().encode


def known_of(reply: Reply) -> Known | None:
    """What the step answered at first, where the reply says that it was done before."""
    fault = fault_of(reply)
    if fault.code != "PT409" or fault.message != "operation_done":
        return None
    try:
        return _known.decode(fault.details or "{}")
    except msgspec.DecodeError as error:
        raise Unavailable("supabase kept an operation that is not of this version; compare its migrations") from error


def pack(outcomes: Mapping[int, Outcome]) -> list[dict[str, Any]]:
    """The rejections among the outcomes of a step, by their places, as they are kept."""
    return [_packed(place, outcome.error) for place, outcome in outcomes.items() if outcome.error is not None]


def _packed(place: int, error: Exception) -> dict[str, Any]:
    match error:
        case Conflict():
            current = msgspec.Raw(_encode(error.current))
            found = Rejected(place, "conflict", expected_version=error.expected_version, current=current)
        case Duplicate():
            found = Rejected(place, "duplicate", error.field, error.existing_id)
        case _:
            found = Rejected(place, "not_found")
    return msgspec.json.decode(_encode(found), type=dict[str, Any])


def unpack(codec: Codec, known: Known, ids: Sequence[str]) -> dict[int, Outcome]:
    """The outcomes of a step again, as they were."""
    resource = codec.entity.resource
    written: dict[str, Record] = {row.id: row for row in codec.images(bytes(known.rows))}
    outcomes = {
        item.place: Outcome(ids[item.place], error=_raised(codec, item, ids[item.place])) for item in known.rejected
    }
    for place, one in enumerate(ids):
        if place not in outcomes:
            row = written.get(one)
            outcomes[place] = Outcome(one, row) if row is not None else Outcome(one, error=NotFound(resource, one))
    return outcomes


def _raised(codec: Codec, item: Rejected, record_id: str) -> InterlockError:
    resource = codec.entity.resource
    match item.code:
        case "conflict":
            current = msgspec.json.decode(item.current, type=codec.entity.record | None)
            return Conflict(resource, record_id, item.expected_version, current)
        case "duplicate":
            return Duplicate(resource, item.field, item.existing_id)
        case _:
            return NotFound(resource, record_id)
