"""What goes into the journal, and what comes back."""

from __future__ import annotations

from typing import Literal

import msgspec

from interlock.control.routes import StoredRoute

__all__ = [
    "Admission",
    "Admitted",
    "Busy",
    "Closed",
    "Decision",
    "Ending",
    "Entry",
    "Item",
    "Replayed",
    "Reused",
    "Status",
]

Status = Literal["intent", "done", "mirrored", "rejected", "poison"]
"""*intent*: admitted, its outcome not known yet. *done*: in the primary backend. *mirrored*: in both. *rejected*: in neither, for a reason that the caller
was told. *poison*: in the primary, and the mirror refuses it."""


class Item(msgspec.Struct, frozen=True):
    """One record that an operation writes. `request` is what is sent for it, encoded."""

    resource: str
    record_id: str
    request: bytes


class Admission(msgspec.Struct, frozen=True):
    """An operation that asks to be carried out. `epoch` is that of the route that its caller saw; `owner` is the process that carries it out."""

    service: str
    tenant_id: str
    operation_id: str
    fingerprint: str
    epoch: int
    owner: str
    items: tuple[Item, ...]


class Entry(msgspec.Struct, frozen=True):
    """One item of an operation, as the journal holds it. `seq` orders all writes of a record, in every backend."""

    seq: int
    service: str
    tenant_id: str
    resource: str
    record_id: str
    operation_id: str
    item: int
    fingerprint: str
    request: bytes
    epoch: int
    primary: str
    secondary: str | None
    owner: str
    status: Status
    pinned: int | None = None
    image: bytes | None = None
    result: bytes | None = None
    problem: str | None = None


class Ending(msgspec.Struct, frozen=True):
    """What became of an entry. `image` is the record as the primary backend holds it after the write, `result` what the caller is answered."""

    seq: int
    status: Status
    image: bytes | None = None
    result: bytes | None = None
    problem: str | None = None


class Admitted(msgspec.Struct, frozen=True):
    """In the journal, durably: send it now. `seqs` are in the order of the items."""

    seqs: tuple[int, ...]
    route: StoredRoute


class Replayed(msgspec.Struct, frozen=True):
    """The operation is in the journal already: these are its entries, in the order of the items."""

    entries: tuple[Entry, ...]


class Reused(msgspec.Struct, frozen=True):
    """The operation id was used for another request."""


class Busy(msgspec.Struct, frozen=True):
    """Operations on these records have no outcome yet: come again when they have."""

    record_ids: tuple[str, ...]


class Closed(msgspec.Struct, frozen=True):
    """The route is closed, or of another epoch; `route` is how it is, None where there is none."""

    route: StoredRoute | None


Decision = Admitted | Replayed | Reused | Busy | Closed
