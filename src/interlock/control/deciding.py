"""Admission: a batch of operations is decided upon, and what is admitted enters the journal, within one transaction.

That the routes are read here, and locked until the transaction ends, is what makes a closed route closed: nobody is admitted by a route that was looked up before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, select

from interlock.control.entries import Admission, Admitted, Busy, Closed, Decision, Entry, Replayed, Reused
from interlock.control.reading import entry_of, route_of
from interlock.control.routes import EVERY_TENANT, StoredRoute
from interlock.control.tables import JOURNAL, ROUTES

__all__ = ["decide"]

_AT_ONCE: Final = 500
"""Values of one statement."""

_c = JOURNAL.c
# By one column each, which the statements' cache likes; the rest of the key is compared here.
_ENTRIES: Final = select(JOURNAL).where(_c.operation_id.in_(bindparam("operations", expanding=True))).order_by(_c.item)
_OPEN: Final = select(_c.tenant_id, _c.resource, _c.record_id).where(
    _c.status == "intent", _c.record_id.in_(bindparam("records", expanding=True))
)
_INSERT: Final = insert(JOURNAL).returning(_c.seq, sort_by_parameter_order=True)

_Record = tuple[str, str, str]
_Operation = tuple[str, str]


def decide(connection: Connection, admissions: Sequence[Admission], now: float) -> list[Decision]:
    """One decision for each, in order. The rows of those that are admitted are in the journal; `now` is the time that they carry."""
    routes = _routes(connection, admissions)
    known = _known(connection, admissions)
    busy = _open_records(connection, admissions)
    decisions: list[Decision | None] = []
    rows: list[dict[str, Any]] = []
    for admission in admissions:
        decision = _refused(admission, routes, known, busy)
        decisions.append(decision)
        if decision is not None:
            continue
        route = _route_for(admission, routes)
        assert route is not None  # noqa: S101 - an admission without a route was refused
        rows += _rows(admission, route, now)
        busy |= {(admission.tenant_id, item.resource, item.record_id) for item in admission.items}
        # A twin in the same batch finds the records busy, and its own entries when it comes again.
    seqs = iter(_inserted(connection, rows))
    answers: list[Decision] = []
    for admission, decision in zip(admissions, decisions, strict=True):
        if decision is None:
            route = _route_for(admission, routes)
            assert route is not None  # noqa: S101 - as above
            decision = Admitted(tuple(next(seqs) for _ in admission.items), route)
        answers.append(decision)
    return answers


def _refused(
    admission: Admission,
    routes: dict[tuple[str, str], StoredRoute],
    known: dict[_Operation, list[Entry]],
    busy: set[_Record],
) -> Decision | None:
    entries = known.get((admission.tenant_id, admission.operation_id))
    if entries is not None:
        same = all(entry.fingerprint == admission.fingerprint for entry in entries)
        return Replayed(tuple(entries)) if same else Reused()
    route = _route_for(admission, routes)
    if route is None or not route.open or route.epoch != admission.epoch:
        return Closed(route)
    held = tuple(i.record_id for i in admission.items if (admission.tenant_id, i.resource, i.record_id) in busy)
    return Busy(held) if held else None


def _route_for(admission: Admission, routes: dict[tuple[str, str], StoredRoute]) -> StoredRoute | None:
    own = routes.get((admission.service, admission.tenant_id))
    return own if own is not None else routes.get((admission.service, EVERY_TENANT))


def _routes(connection: Connection, admissions: Sequence[Admission]) -> dict[tuple[str, str], StoredRoute]:
    wanted = (
        select(ROUTES)
        .where(ROUTES.c.service.in_({admission.service for admission in admissions}))
        .with_for_update(read=True)
    )
    found = map(route_of, connection.execute(wanted).mappings())
    return {(route.service, route.tenant_id): route for route in found}


def _known(connection: Connection, admissions: Sequence[Admission]) -> dict[_Operation, list[Entry]]:
    wanted = {(admission.tenant_id, admission.operation_id) for admission in admissions}
    found: dict[_Operation, list[Entry]] = {}
    for part in _parts(sorted({operation for _, operation in wanted})):
        for row in connection.execute(_ENTRIES, {"operations": part}).mappings():
            key = (row["tenant_id"], row["operation_id"])
            if key in wanted:
                found.setdefault(key, []).append(entry_of(row))
    return found


def _open_records(connection: Connection, admissions: Sequence[Admission]) -> set[_Record]:
    wanted = {(a.tenant_id, item.resource, item.record_id) for a in admissions for item in a.items}
    found: set[_Record] = set()
    for part in _parts(sorted({record for _, _, record in wanted})):
        for tenant_id, resource, record_id in connection.execute(_OPEN, {"records": part}):
            found.add((tenant_id, resource, record_id))
    return found & wanted


def _parts(wanted: Sequence[Any]) -> list[Sequence[Any]]:
    return [wanted[start : start + _AT_ONCE] for start in range(0, len(wanted), _AT_ONCE)]


def _rows(admission: Admission, route: StoredRoute, at: float) -> list[dict[str, Any]]:
    return [
        {
            "service": admission.service,
            "tenant_id": admission.tenant_id,
            "resource": item.resource,
            "record_id": item.record_id,
            "operation_id": admission.operation_id,
            "item": place,
            "fingerprint": admission.fingerprint,
            "request": item.request,
            "epoch": route.epoch,
            "primary_backend": route.primary,
            "secondary_backend": route.secondary,
            "owner": admission.owner,
            "status": "intent",
            "at": at,
        }
        for place, item in enumerate(admission.items)
    ]


def _inserted(connection: Connection, rows: list[dict[str, Any]]) -> Sequence[int]:
    if not rows:
        return ()
    return connection.execute(_INSERT, rows).scalars().all()
