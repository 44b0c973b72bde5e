"""The writing verbs: rows go to PostgREST in steps, and every item gets its outcome.

What a statement did not write (no row came back) is looked at afterwards, told as an outcome, and kept with the operation, so that the same
request again is answered alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from interlock.backends.supabase.client import Caller
from interlock.backends.supabase.codec import Codec
from interlock.backends.supabase.compile import quoted
from interlock.backends.supabase.faults import Concern
from interlock.backends.supabase.operations import Done, Operation
from interlock.backends.supabase.steps import Steps, unsettled
from interlock.contract import Identity, Outcome, Record, Request, Response
from interlock.entity import Entity
from interlock.errors import (
    Conflict,
    Duplicate,
    Forbidden,
    InterlockError,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Unsupported,
)
from interlock.identifiers import is_id, new_id

__all__ = ["Writer"]

ROWS_AT_ONCE: Final = 1_000
IDS_AT_ONCE: Final = 100
"""Ids that one URL names."""

STEPS_AT_ONCE: Final = 4
"""Measured: more give nothing, fewer leave the database waiting while a part is packed or read."""

LOOKS: Final = 3
"""How often an item is sent whose reason for being left out has gone when it is looked for."""

_APART: Final = ""
"""Stands among a step's rejections where its items were sent each by itself."""

_CHANGING: Final = frozenset({"update", "delete", "restore"})
_SYSTEM: Final = Identity("system", "system", "system")

_encode = msgspec.json.Encoder().encode

T = TypeVar("T")
Part = Callable[[int], Awaitable[Sequence[Outcome]]]


class Writer:
    """Carries out create, update, delete, restore and put, and hands the trail on."""

    def __init__(self, caller: Caller, codecs: Mapping[str, Codec], name: str) -> None:
        self._caller = caller
        self._codecs = codecs
        self._name = name

    async def write(self, request: Request) -> Response:
        """One outcome per item. An error of the whole call is raised; where a part of it was written before, that is `OutcomeUnknown`."""
        codec = self._codecs[request.resource]
        if codec.entity.append_only and request.verb in _CHANGING:
            raise Unsupported(self._name, f"{request.verb} of {request.resource}, whose rows are never changed")
        if request.verb == "create":
            outcomes = await self._create(request, codec)
        elif request.verb == "put":
            outcomes = await self._put(request, codec)
        else:
            outcomes = await self._change(request, codec)
        return Response(outcomes=tuple(outcomes), backend=self._name, epoch=request.epoch)

    # -- create ---------------------------------------------------------------------------------------------------

    async def _create(self, request: Request, codec: Codec) -> list[Outcome]:
        steps = Steps(self._caller, codec, request, Operation(request))
        parts = _runs(request.rows, ROWS_AT_ONCE)

        async def part(number: int) -> Sequence[Outcome]:
            return await self._create_some(request, codec, steps, str(number), parts[number])

        # Numbers are given, and unique values are taken, in the order of the rows.
        ordered = codec.entity.sequence is not None or _alike(codec.entity, request.rows)
        return await _all(
            request, steps, [[row.id for row in rows] for rows in parts], part, 1 if ordered else STEPS_AT_ONCE
        )

    async def _create_some(
        self, request: Request, codec: Codec, steps: Steps, step: str, rows: Sequence[Record]
    ) -> list[Outcome]:
        ids = [row.id for row in rows]
        path = f"{request.resource}?select={codec.select}&columns={codec.written}"
        body = codec.create(rows)
        done = await steps.done(step, "POST", path, body, ids)
        if done is None:
            steps = Steps(self._caller, codec, request, _recorded(request))
            done = await steps.done(step, "POST", path, body, ids, skip=True)
        outcomes = [done.outcome(one) for one in ids] if done is not None else []
        if not all(outcomes):
            raise OutcomeUnknown(request.operation_id, "the write was sent, and not all of it was answered")
        return [outcome for outcome in outcomes if outcome is not None]

    # -- update, delete, restore ----------------------------------------------------------------------------------

    async def _change(self, request: Request, codec: Codec) -> list[Outcome]:
        unique = {unique.field for unique in codec.entity.unique}
        meets = bool(unique) and (request.verb == "restore" or not unique.isdisjoint(request.patch or ()))
        steps = Steps(self._caller, codec, request, _recorded(request) if meets else Operation(request))
        parts = _runs(request.ids, IDS_AT_ONCE)
        # Which of two rows gets a value depends on their order.
        ordered = meets or len(set(request.ids)) < len(request.ids)

        async def part(number: int) -> Sequence[Outcome]:
            if meets and len(parts[number]) > 1:
                return await self._change_meeting(request, codec, steps, str(number), parts[number])
            return await self._change_some(request, codec, steps, str(number), parts[number], skip=meets)

        return await _all(request, steps, parts, part, 1 if ordered else STEPS_AT_ONCE)

    async def _change_meeting(
        self, request: Request, codec: Codec, steps: Steps, step: str, ids: Sequence[str]
    ) -> list[Outcome]:
        """All at once if they meet no unique key; else, which is kept with the operation, each by itself, in order."""
        done = await self._send(request, codec, steps, step, ids)
        if done is None:
            await steps.keep(step, {_APART: InterlockError("a unique key was met")})
            with unsettled(request):
                done = await self._send(request, codec, steps, step, ids)
        if done is not None and (done.rows or _APART not in done.rejected):
            return await self._change_some(request, codec, steps, step, ids, done=done)
        found = await self._change_some(request, codec, steps, f"{step}.0", ids[:1], skip=True)
        with unsettled(request):
            for place, one in enumerate(ids[1:], 1):
                found += await self._change_some(request, codec, steps, f"{step}.{place}", [one], skip=True)
        return found

    async def _change_some(
        self,
        request: Request,
        codec: Codec,
        steps: Steps,
        step: str,
        ids: Sequence[str],
        *,
        skip: bool = False,
        done: Done | None = None,
    ) -> list[Outcome]:
        found: dict[str, Outcome] = {}
        for look in range(LOOKS):
            left = [one for one in ids if one not in found]
            named = f"{step}+{look}" if look else step
            if done is None and (done := await self._send(request, codec, steps, named, left, skip=skip)) is None:
                raise OutcomeUnknown(request.operation_id, "a unique key was met that the entity does not name")
            found |= {one: outcome for one in left if (outcome := done.outcome(one)) is not None}
            done = None
            if len(found) < len(ids):
                with unsettled(request):
                    missed = await self._missed(request, codec, [one for one in left if one not in found])
                    kept = await steps.keep(named, missed)
                found |= {one: Outcome(one, error=kept[one]) for one in missed if one in kept}
            if len(found) == len(ids):
                return [found[one] for one in ids]
        raise Forbidden(f"{request.resource}: the role may not {request.verb}")

    async def _send(
        self, request: Request, codec: Codec, steps: Steps, step: str, ids: Sequence[str], *, skip: bool = False
    ) -> Done | None:
        path = f"{_named(request, codec, ids)}{_guards(request)}"
        return await steps.done(step, "PATCH", path, _patch(request, codec), ids, skip=skip)

    async def _missed(self, request: Request, codec: Codec, ids: Sequence[str]) -> dict[str, InterlockError]:
        """Why items were not written. One whose reason has gone meanwhile is left out: it is tried again."""
        concern = Concern(request.resource, request.operation_id)
        path = _named(request, codec, ids)
        reply = await self._caller.send("GET", path, concern, request.identity, deadline=request.deadline)
        held: dict[str, Record] = {row.id: row for row in codec.rows(reply.body)}
        found: dict[str, InterlockError] = {}
        for one in ids:
            row = held.get(one)
            if row is None or (row.deleted_at is not None and request.verb != "restore"):
                found[one] = NotFound(request.resource, one)
            elif request.expected_version is not None and row.version != request.expected_version:
                found[one] = Conflict(request.resource, one, request.expected_version, row)
        return found

    # -- put and the trail ----------------------------------------------------------------------------------------

    async def _put(self, request: Request, codec: Codec) -> list[Outcome]:
        for row in request.rows:
            if row.tenant_id != request.identity.tenant_id:
                raise Invalid({"tenant_id": "is another tenant's; put each tenant's rows by itself"})
            if row.created_at is None or row.updated_at is None:
                raise Invalid({"created_at": "is missing; put takes whole images of rows"})
        steps = Steps(self._caller, codec, request, Operation(request))
        parts = _runs(request.rows, ROWS_AT_ONCE)

        async def part(number: int) -> Sequence[Outcome]:
            rows = parts[number]
            arguments = {"resource": request.resource, "rows": codec.exact(rows), "sequence": request.sequence}
            done = await steps.put(str(number), arguments, [row.id for row in rows])
            return [
                Outcome(row.id, error=Duplicate(request.resource, put.field, put.existing_id))
                if put.field
                else Outcome(row.id, row if put.written else None)
                for row, put in zip(rows, done, strict=True)
            ]

        return await _all(request, steps, [[row.id for row in rows] for rows in parts], part, 1)

    async def pending_audit(self, limit: int) -> Sequence[Record]:
        """The oldest entries of the trail that were not acknowledged, of all tenants."""
        codec = self._codecs["audit"]
        found: list[Record] = []
        while len(found) < limit:
            # A project gives at most a thousand rows at once.
            most = min(limit - len(found), ROWS_AT_ONCE)
            path = f"rpc/interlock_pending_audit?select={codec.select}&limit={most}&offset={len(found)}"
            body = _encode({"limit": len(found) + most})
            rows = codec.rows((await self._caller.send("POST", path, Concern("audit"), _SYSTEM, body=body)).body)
            found += rows
            if len(rows) < most:
                break
        return found

    async def acknowledge_audit(self, ids: Sequence[str]) -> None:
        """Forget that these wait."""
        if ids:
            await self._caller.function(
                _SYSTEM, "interlock_acknowledge_audit", {"ids": list(ids)}, concern=Concern("audit")
            )


def _recorded(request: Request) -> Operation:
    """The request's operation, or one made for it: who is in the way of a row is learned from the operation's record."""
    return Operation(request, id=request.operation_id or new_id())


def _named(request: Request, codec: Codec, ids: Iterable[str]) -> str:
    """The path of the rows of these ids."""
    wanted = ",".join(one if is_id(one) else quoted(one) for one in ids)
    return f"{request.resource}?select={codec.select}&id=in.({quote(wanted, safe=',-')})"


def _guards(request: Request) -> str:
    """What a row must be, to be changed: as parameters of their own, because a group's conditions would be put to the changed row too."""
    alive = "" if request.verb == "restore" else "&deleted_at=is.null"
    return alive if request.expected_version is None else f"{alive}&version=eq.{request.expected_version}"


def _patch(request: Request, codec: Codec) -> bytes:
    if request.verb == "delete":
        return b'{"deleted_at":"now"}'
    # A patch of nothing is a statement too: it answers the rows, and changes none.
    return codec.patch(request.patch) if request.verb == "update" and request.patch else b'{"deleted_at":null}'


def _runs(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """The items in order, in runs of at most `most`; the same id again begins another run."""
    runs: list[Sequence[T]] = []
    start, seen = 0, set[str]()
    for place, item in enumerate(items):
        one = item if isinstance(item, str) else getattr(item, "id", "")
        if one in seen or place - start == most:
            runs.append(items[start:place])
            start, seen = place, set()
        seen.add(one)
    return [*runs, items[start:]] if items else []


def _alike(entity: Entity[Any], rows: Sequence[Record]) -> bool:
    """True where rows of one request are in each other's way."""
    kinds: list[list[Any]] = [[row.id for row in rows]]
    kinds += [[entity.unique_value(unique, row) for row in rows] for unique in entity.unique]
    for values in kinds:
        given = [value for value in values if value is not None]
        if len(set(given)) < len(given):
            return True
    return False


async def _all(
    request: Request, steps: Steps, ids: Sequence[Sequence[str]], part: Part, together: int
) -> list[Outcome]:
    """All parts: the first alone, so that what is wrong with the whole call is met once; the others `together` at a time.

    What then stops one of them: a refusal of its values is its items' outcome, anything else leaves the call's outcome unknown.
    """
    if not ids:
        return []
    found: dict[int, Sequence[Outcome]] = {0: await part(0)}
    left = iter(range(1, len(ids)))

    async def worker() -> None:
        for number in left:
            with unsettled(request):
                try:
                    found[number] = await part(number)
                except Invalid as error:
                    kept = await steps.keep(str(number), dict.fromkeys(ids[number], error))
                    found[number] = [Outcome(one, error=kept[one]) for one in ids[number]]

    workers = min(together, len(ids) - 1)
    if workers == 1:
        await worker()
    elif workers:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(worker())
        except* InterlockError as errors:
            raise errors.exceptions[0] from errors.exceptions[0].__cause__
    return [outcome for number in range(len(ids)) for outcome in found[number]]
