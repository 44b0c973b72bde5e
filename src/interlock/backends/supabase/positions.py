"""How far a watcher has come: snapshots of the database, compared where the log is read and understood a little here."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

__all__ = ["UNKNOWN", "Snapshot", "mark_of", "position_of", "since_of"]

UNKNOWN: Final = "unknown"
"""What is sent for a position of elsewhere: the log answers it with a resync."""


class Snapshot(msgspec.Struct, frozen=True):
    """Which transactions a read saw, as PostgreSQL writes it: `xmin:xmax:xip,xip`."""

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """From PostgreSQL's text."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(xid) for xid in running.split(",") if xid))

    def sees(self, xid: int) -> bool:
        """True where the transaction had ended."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.running)


def mark_of(url: str) -> str:
    """A short name of a project: its positions mean nothing at another one."""
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def position_of(mark: str, place: str) -> str:
    """A `Change.position`, from a place in the log of the project."""
    return f"{mark}.{place}"


def since_of(mark: str, position: str) -> str:
    """The place in the log; of a position that another project or backend gave, one that the log does not know."""
    given, _, place = position.partition(".")
    return place if given == mark and place and len(place) <= 20_000 else UNKNOWN
