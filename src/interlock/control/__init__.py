"""The control store: routes with epochs, and the journal of writes, kept apart from every backend that they speak of."""

from __future__ import annotations

from interlock.control.entries import Admission, Admitted, Busy, Closed, Decision, Ending, Entry, Item, Replayed, Reused
from interlock.control.routes import StoredRoute
from interlock.control.store import ControlStore

__all__ = [
    "Admission",
    "Admitted",
    "Busy",
    "Closed",
    "ControlStore",
    "Decision",
    "Ending",
    "Entry",
    "Item",
    "Replayed",
    "Reused",
    "StoredRoute",
]
