"""The store itself: one code path, on SQLite for one machine and on PostgreSQL for several processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from interlock.control.committing import GroupCommit
from interlock.control.deciding import decide
from interlock.control.entries import Admission, Decision, Ending, Entry, Status
from interlock.control.reading import entry_of, route_of
from interlock.control.routes import EVERY_TENANT, Stage, StoredRoute
from interlock.control.running import Runs, runner_for
from interlock.control.tables import JOURNAL, METADATA, ROUTES, VERSION, VERSIONS
from interlock.errors import Misconfigured, Unavailable

__all__ = ["ControlStore"]

_TRIES: Final = 20


class ControlStore:
    """Routes and journal. Every method answers after what it did is durable.

    Raises `Unavailable` where the store does not answer; then nothing was done, or (for a commit whose answer was lost) the same call again finds it done.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._runner: Runs = runner_for(url)
        self._clock = clock
        self._commits = GroupCommit[Admission | Ending, Decision | None](self._commit)

    @classmethod
    async def open(cls, url: str, *, clock: Callable[[], float] = time.time) -> ControlStore:
        """The store at `sqlite+aiosqlite:///path.db` or `postgresql+asyncpg://…`, its tables made where they are not there.

        Raises `Misconfigured` for tables of another version.
        """
        store = cls(url, clock=clock)
        try:
            await store._runner.run(_prepare)
        except BaseException:
            await store.aclose()
            raise
        return store

    async def aclose(self) -> None:
        """Let what is under way end, and close the connections."""
        await self._commits.aclose()
        await self._runner.aclose()

    # -- the journal ----------------------------------------------------------------------------------------------

    async def admit(self, admission: Admission) -> Decision:
        """Whether the operation may be carried out now; then it is in the journal."""
        decision = await self._commits.ask(admission)
        assert decision is not None  # noqa: S101 - an admission is always decided
        return decision

    async def end(self, ending: Ending) -> None:
        """Keep what became of an entry: an intent is *done* or *rejected*, what is done is *mirrored* or *poison*. A second word changes nothing."""
        await self._commits.ask(ending)

    async def pin(self, seq: int, version: int) -> int:
        """Keep the version that the entry's first attempt found; answers the one that is kept."""

        def work(connection: Connection) -> int:
            of = JOURNAL.c.seq == seq
            connection.execute(update(JOURNAL).where(of, JOURNAL.c.pinned.is_(None)).values(pinned=version))
            return int(connection.execute(select(JOURNAL.c.pinned).where(of)).scalar_one())

        return await self._runner.run(work)

    async def entries(
        self, service: str, status: Status, *, after: int = 0, until: int | None = None, limit: int = 500
    ) -> tuple[Entry, ...]:
        """The entries of a service in this status, by `seq`."""
        wanted = select(JOURNAL).where(JOURNAL.c.service == service, JOURNAL.c.status == status, JOURNAL.c.seq > after)
        if until is not None:
            wanted = wanted.where(JOURNAL.c.seq <= until)
        wanted = wanted.order_by(JOURNAL.c.seq).limit(limit)
        return await self._runner.run(lambda c: tuple(map(entry_of, c.execute(wanted).mappings())))

    async def _commit(self, asked: Sequence[Admission | Ending]) -> Sequence[Decision | None]:
        for left in reversed(range(_TRIES)):
            try:
                return await self._runner.run(lambda connection: self._carry_out(connection, asked))
            except IntegrityError:
                # Another process was admitted to one of the records between our look and our entry: look again.
                if not left:
                    raise Unavailable(
                        "the control store is contended: other processes write the same records"
                    ) from None
                await asyncio.sleep(0)
        raise AssertionError("unreachable")

    def _carry_out(self, connection: Connection, asked: Sequence[Admission | Ending]) -> list[Decision | None]:
        now = self._clock()
        endings = [one for one in asked if isinstance(one, Ending)]
        if endings:
            _end(connection, endings)
        admissions = [one for one in asked if isinstance(one, Admission)]
        decisions = iter(decide(connection, admissions, now) if admissions else ())
        return [next(decisions) if isinstance(one, Admission) else None for one in asked]

    # -- routes ---------------------------------------------------------------------------------------------------

    async def routes(self) -> tuple[StoredRoute, ...]:
        """Every route."""
        wanted = select(ROUTES).order_by(ROUTES.c.service, ROUTES.c.tenant_id)
        return await self._runner.run(lambda c: tuple(map(route_of, c.execute(wanted).mappings())))

    async def route(self, service: str, tenant_id: str = EVERY_TENANT) -> StoredRoute | None:
        """The tenant's own route of a service, else that of every tenant."""
        wanted = select(ROUTES).where(ROUTES.c.service == service, ROUTES.c.tenant_id.in_((tenant_id, EVERY_TENANT)))
        found = await self._runner.run(lambda c: tuple(map(route_of, c.execute(wanted).mappings())))
        return max(found, key=lambda route: route.tenant_id, default=None)

    async def put_route(self, service: str, primary: str, tenant_id: str = EVERY_TENANT) -> StoredRoute:
        """A first route, open, in stage off; the one that is there already, if one is."""

        def work(connection: Connection) -> StoredRoute:
            of = (ROUTES.c.service == service, ROUTES.c.tenant_id == tenant_id)
            found = connection.execute(select(ROUTES).where(*of)).mappings().one_or_none()
            if found is None:
                values = {
                    "service": service,
                    "tenant_id": tenant_id,
                    "stage": "off",
                    "open": 1,
                    "primary_backend": primary,
                    "secondary_backend": None,
                    "epoch": 1,
                    "head": None,
                    "at": self._clock(),
                }
                connection.execute(insert(ROUTES).values(values))
                found = connection.execute(select(ROUTES).where(*of)).mappings().one()
            return route_of(found)

        return await self._runner.run(work)

    async def turn(
        self,
        route: StoredRoute,
        *,
        stage: Stage | None = None,
        open: bool | None = None,
        primary: str | None = None,
        secondary: str | None = None,
        head: int | None = None,
    ) -> StoredRoute | None:
        """The route, changed, with the next epoch; None where somebody else has changed it since `route` was read. What is not given stays."""
        values: dict[str, Any] = {
            "stage": stage or route.stage,
            "open": int(route.open if open is None else open),
            "primary_backend": primary or route.primary,
            "secondary_backend": secondary or route.secondary,
            "head": route.head if head is None else head,
            "epoch": route.epoch + 1,
            "at": self._clock(),
        }
        of = (
            ROUTES.c.service == route.service,
            ROUTES.c.tenant_id == route.tenant_id,
            ROUTES.c.epoch == route.epoch,
        )

        def work(connection: Connection) -> StoredRoute | None:
            if not connection.execute(update(ROUTES).where(*of).values(values)).rowcount:
                return None
            again = (ROUTES.c.service == route.service, ROUTES.c.tenant_id == route.tenant_id)
            return route_of(connection.execute(select(ROUTES).where(*again)).mappings().one())

        return await self._runner.run(work)


def _prepare(connection: Connection) -> None:
    METADATA.create_all(connection)
    found = connection.execute(select(VERSIONS.c.version)).scalars().all()
    if not found:
        connection.execute(insert(VERSIONS).values(version=VERSION))
    elif list(found) != [VERSION]:
        raise Misconfigured(
            [f"the control store's tables are of version {max(found)}, and this program speaks {VERSION}"]
        )


def _end(connection: Connection, endings: Sequence[Ending]) -> None:
    """Outcomes are kept for intents alone, and what the mirror says for what is done: a second word changes nothing."""
    of = JOURNAL.c.seq == bindparam("of")
    outcome = update(JOURNAL).where(of, JOURNAL.c.status == "intent")
    outcome = outcome.values(
        {name: bindparam(f"new_{name}") for name in ("status", "image", "result", "problem")},
    )
    mirror = update(JOURNAL).where(of, JOURNAL.c.status.in_(("done", "poison")))
    mirror = mirror.values({name: bindparam(f"new_{name}") for name in ("status", "problem")})
    for statement, statuses, names in (
        (outcome, ("done", "rejected"), ("status", "image", "result", "problem")),
        (mirror, ("mirrored", "poison"), ("status", "problem")),
    ):
        values = [
            {"of": ending.seq, **{f"new_{name}": getattr(ending, name) for name in names}}
            for ending in endings
            if ending.status in statuses
        ]
        if values:
            connection.execute(statement, values)
