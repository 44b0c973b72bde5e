"""One backend in a bench: its two tenants, the calls that are measured there, and cleaning up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from interlock.app import App
from interlock.cli.benching.plan import Plan
from interlock.cli.benching.work import PAGE, Kind, Work
from interlock.contract import Aggregate, Backend, GroupBy, Identity, Outcome, Query, Request, Verb
from interlock.entity import Entity
from interlock.errors import (
    DeadlineExceeded,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    Unsupported,
)
from interlock.identifiers import new_id
from interlock.services import EntityService, Services
from interlock.services.base import conditions, parse_sort
from interlock.validation import check_aggregate, check_patch, check_query, check_row

__all__ = ["Call", "Contender", "patiently"]

T = TypeVar("T")

PATIENCE: Final = 10.0
"""Seconds that preparing and cleaning up go on trying where a backend is troubled."""

PASSING: Final = (Unavailable, RateLimited, DeadlineExceeded, OutcomeUnknown)
CHUNK: Final = 200
WRITTEN: Final = 200
"""Records that updates take turns with, at most."""


Run = Callable[[], Awaitable[Any]]
"""A call that is ready to be sent."""


class Call(NamedTuple):
    """One call to be measured; `id` is the record that it makes, deletes or restores."""

    run: Run
    id: str = ""


class Caller(Protocol):
    """How the calls of a bench reach a backend. Each method makes a call ready; what it sends is made by then."""

    def get(self, id: str) -> Run: ...
    def find(self, filters: Mapping[str, Any], search: str | None) -> Run: ...
    def aggregate(self) -> Run: ...
    def create(self, values: Mapping[str, Any]) -> Run: ...
    def update(self, id: str, patch: Mapping[str, Any]) -> Run: ...
    def delete(self, id: str) -> Run: ...
    def restore(self, id: str) -> Run: ...


class ThroughServices:
    """As an application calls: policy, validation, rules and layers included."""

    def __init__(self, service: EntityService[Any], kind: Kind) -> None:
        self._service = service
        self._kind = kind

    def get(self, id: str) -> Run:
        return partial(self._service.get, id)

    def find(self, filters: Mapping[str, Any], search: str | None) -> Run:
        return partial(self._service.list, search=search, sort=self._kind.sort, limit=PAGE, **filters)

    def aggregate(self) -> Run:
        return partial(self._service.aggregate, self._kind.group_by, self._kind.measures)

    def create(self, values: Mapping[str, Any]) -> Run:
        return partial(self._service.create, values)

    def update(self, id: str, patch: Mapping[str, Any]) -> Run:
        return partial(self._service.update, id, patch)

    def delete(self, id: str) -> Run:
        return partial(self._service.delete, id)

    def restore(self, id: str) -> Run:
        return partial(self._service.restore, id)


class Bare:
    """The backend alone: requests that are made and checked before they are measured."""

    def __init__(self, backend: Backend, epoch: int, entity: Entity[Any], identity: Identity, kind: Kind) -> None:
        self._backend = backend
        self._epoch = epoch
        self._entity = entity
        self._identity = identity
        self._kind = kind

    def _ready(self, verb: Verb, **parts: Any) -> Run:
        request = Request(verb, self._entity.resource, self._identity, epoch=self._epoch, **parts)
        return partial(self._send, request)

    async def _send(self, request: Request) -> None:
        answer = await self._backend.handle(request)
        for outcome in answer.outcomes:
            if outcome.error is not None:
                raise outcome.error
        if request.verb == "get" and not answer.rows:
            raise NotFound(request.resource, request.ids[0])

    def get(self, id: str) -> Run:
        return self._ready("get", ids=(id,))

    def find(self, filters: Mapping[str, Any], search: str | None) -> Run:
        query = Query(conditions(None, filters), search, parse_sort(self._kind.sort), PAGE)
        return self._ready("find", query=check_query(self._entity, query))

    def aggregate(self) -> Run:
        groups = tuple(GroupBy(name) for name in self._kind.group_by)
        wanted = check_aggregate(self._entity, Aggregate(groups, self._kind.measures))
        return self._ready("aggregate", query=check_query(self._entity, Query()), aggregate=wanted)

    def create(self, values: Mapping[str, Any]) -> Run:
        return self._ready("create", rows=(check_row(self._entity, values),), operation_id=new_id())

    def update(self, id: str, patch: Mapping[str, Any]) -> Run:
        return self._ready("update", ids=(id,), patch=check_patch(self._entity, patch), operation_id=new_id())

    def delete(self, id: str) -> Run:
        return self._ready("delete", ids=(id,), operation_id=new_id())

    def restore(self, id: str) -> Run:
        return self._ready("restore", ids=(id,), operation_id=new_id())


class Side:
    """One tenant of a contender's two: who calls there, and which records the bench knows."""

    def __init__(self, app: App, plan: Plan, work: Work, *, bare: bool) -> None:
        self.identity = Identity(new_id(), new_id(), "admin", "bench@interlock.example")
        self.crm: Services = app.services(self.identity)
        self.service = self.crm.of(plan.resource)
        self.parents: dict[str, str] = {}
        self.ids: list[str] = []
        route = app.router.route(plan.service)
        self.caller: Caller = (
            Bare(route.backend, route.epoch, self.service.entity, self.identity, work.kind)
            if bare
            else ThroughServices(self.service, work.kind)
        )


class Contender:
    """A backend that is measured, through the services or bare.

    It reads in one tenant and writes in another, both made for this run, so that writes make no read slower and nobody's records are touched.
    """

    def __init__(self, name: str, backend: str, app: App, plan: Plan, *, bare: bool) -> None:
        self.name = name
        self.backend = backend
        self.bare = bare
        self.app = app
        self._work = Work(plan.resource, plan.seed)
        self._plan = plan
        self._reading = Side(app, plan, self._work, bare=bare)
        self._writing = Side(app, plan, self._work, bare=bare)
        self._next_row = plan.records
        self._wrote = False
        self._live: list[str] = []
        self._gone: list[str] = []

    @property
    def tenants(self) -> tuple[str, str]:
        """The tenant that is read in and the one that is written in."""
        return self._reading.identity.tenant_id, self._writing.identity.tenant_id

    # -- before and after -----------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Make the records. Raises `Unsupported`, and has written nothing, where tenants are not kept apart."""
        for side in (self._reading, self._writing):
            found = await patiently(partial(side.service.list, limit=1))
            if found.items:
                raise Unsupported(
                    self.backend,
                    "the bench works in tenants made for it, and a new one already sees records there; nothing was written",
                )
        for side, records in ((self._reading, self._plan.records), (self._writing, min(WRITTEN, self._plan.records))):
            for resource, values in self._work.kind.parents.items():
                side.parents[resource] = (await self._add(side.crm.of(resource), [dict(values)]))[0]
            rows = [self._work.row(number, side.parents) for number in range(records)]
            side.ids = await self._add(side.service, rows)

    async def _add(self, service: EntityService[Any], rows: list[dict[str, Any]]) -> list[str]:
        ids = []
        for start in range(0, len(rows), CHUNK):
            chunk = [{"id": new_id(), **row} for row in rows[start : start + CHUNK]]
            self._wrote = True
            create = partial(service.bulk_create, chunk, operation_id=new_id())
            ids += [outcome.id for outcome in _good(await patiently(create))]
        return ids

    async def stock(self, verb: str, calls: int) -> None:
        """Have so many records there to be deleted or restored."""
        if verb == "delete" and len(self._live) < calls:
            self._live += await self._add(self._writing.service, self._rows(calls - len(self._live)))
        if verb == "restore" and len(self._gone) < calls:
            ids = await self._add(self._writing.service, self._rows(calls - len(self._gone)))
            await self._remove(self._writing.service, ids)
            self._gone += ids

    async def clean(self) -> int:
        """Delete what the bench made, the softly deleted aside, and answer how many there were. Raises what keeps it from that."""
        deleted = 0
        if not self._wrote:
            return deleted
        for side in (self._reading, self._writing):
            for resource in (self._plan.resource, *reversed(tuple(self._work.kind.parents))):
                deleted += await self._empty(side.crm.of(resource))
        return deleted

    async def _empty(self, service: EntityService[Any]) -> int:
        deleted = 0
        mine = service.context.identity.user_id
        known = {*self._reading.ids, *self._writing.ids, *self._live, *self._gone}
        known |= {*self._reading.parents.values(), *self._writing.parents.values()}
        while True:
            page = await patiently(partial(service.list, limit=CHUNK, sort="id"))
            ids = [row.id for row in page.items if row.created_by == mine or row.id in known]
            if not ids:
                return deleted
            gone = await self._remove(service, ids)
            if not gone:
                raise Unsupported(self.backend, f"of the {service.entity.resource} that it lists, it deletes none")
            deleted += gone

    async def _remove(self, service: EntityService[Any], ids: list[str]) -> int:
        gone = 0
        for start in range(0, len(ids), CHUNK):
            delete = partial(service.bulk_delete, ids[start : start + CHUNK], operation_id=new_id())
            gone += sum(outcome.ok for outcome in _good(await patiently(delete), besides=NotFound))
        return gone

    def _rows(self, count: int) -> list[dict[str, Any]]:
        first, self._next_row = self._next_row, self._next_row + count
        return [self._work.row(number, self._writing.parents) for number in range(first, self._next_row)]

    # -- what is measured -----------------------------------------------------------------------------------------

    def calls(self, verb: str, first: int, count: int) -> list[Call]:
        """The calls number `first` and so on of a verb; everything they need is made here, before the clock starts."""
        return [self._call(verb, number) for number in range(first, first + count)]

    def _call(self, verb: str, number: int) -> Call:
        work, reads, writes = self._work, self._reading, self._writing
        match verb:
            case "get":
                return Call(reads.caller.get(reads.ids[work.place(number, len(reads.ids))]))
            case "find":
                return Call(reads.caller.find(work.filters(number), None))
            case "search":
                return Call(reads.caller.find({}, work.word(number)))
            case "aggregate":
                return Call(reads.caller.aggregate())
            case "create":
                (values,) = self._rows(1)
                minted = new_id()
                return Call(writes.caller.create({"id": minted, **values}), minted)
            case "update":
                return Call(writes.caller.update(writes.ids[number % len(writes.ids)], work.patch(number)))
            case "delete":
                live = self._live.pop()
                return Call(writes.caller.delete(live), live)
            case _:
                gone = self._gone.pop()
                return Call(writes.caller.restore(gone), gone)

    def settle(self, verb: str, done: Iterable[str], unused: Iterable[str]) -> None:
        """Note which records calls have made, deleted or restored, and of which the call was not sent."""
        if verb == "create":
            self._live += done
        elif verb == "delete":
            self._gone += done
            self._live += unused
        elif verb == "restore":
            self._live += done
            self._gone += unused

    async def cache(self) -> tuple[int, int]:
        """How often the service's cache has answered, and how often not; 0 and 0 where there is none."""
        if self.bare or not self.app.settings.cache:
            return 0, 0
        layers = next(row.layers for row in await self.app.status() if row.service == self._plan.service)
        told = layers.get("cache", {})
        return int(told.get("hits", 0)), int(told.get("misses", 0))


def _good(outcomes: Iterable[Outcome], besides: type[Exception] | tuple[()] = ()) -> list[Outcome]:
    good = []
    for outcome in outcomes:
        if outcome.error is not None and not (besides and isinstance(outcome.error, besides)):
            raise outcome.error
        good.append(outcome)
    return good


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """What a call answers, tried for a while where it meets trouble that may pass."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + PATIENCE
    pause = 0.01
    while True:
        try:
            return await call()
        except PASSING as error:
            wait = max(pause, error.retry_after if isinstance(error, RateLimited) else 0.0)
            if loop.time() + wait >= give_up:
                raise
            await asyncio.sleep(wait)
            pause = min(pause * 2, 0.5)
