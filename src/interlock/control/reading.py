"""Rows of the store's tables as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.control.entries import Entry
from interlock.control.routes import StoredRoute

__all__ = ["entry_of", "route_of"]


def entry_of(row: Mapping[Any, Any]) -> Entry:
    """A row of the journal."""
    return Entry(
        seq=row["seq"],
        service=row["service"],
        tenant_id=row["tenant_id"],
        resource=row["resource"],
        record_id=row["record_id"],
        operation_id=row["operation_id"],
        item=row["item"],
        fingerprint=row["fingerprint"],
        request=row["request"],
        epoch=row["epoch"],
        primary=row["primary_backend"],
        secondary=row["secondary_backend"],
        owner=row["owner"],
        status=row["status"],
        pinned=row["pinned"],
        image=row["image"],
        result=row["result"],
        problem=row["problem"],
    )


def route_of(row: Mapping[Any, Any]) -> StoredRoute:
    """A row of the routes."""
    return StoredRoute(
        service=row["service"],
        tenant_id=row["tenant_id"],
        stage=row["stage"],
        open=bool(row["open"]),
        primary=row["primary_backend"],
        secondary=row["secondary_backend"],
        epoch=row["epoch"],
        head=row["head"],
        at=row["at"],
    )
