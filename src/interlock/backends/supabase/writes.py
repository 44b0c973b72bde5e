"""The writing verbs: rows go to PostgREST in steps, and every item gets its outcome.

A step is one statement of the database, and so one transaction: its rows, their versions, the trail, the log of changes and the record of the operation
stand or fall together. What a statement did not write (no row came back) is looked at afterwards, told as an outcome, and kept with the operation, so that
the same request again is answered alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from interlock.backends.supabase.client import Caller
from interlock.backends.supabase.codec import Codec
from interlock.backends.supabase.compile import quoted
from interlock.backends.supabase.faults import Concern, error_of, fault_of
from interlock.backends.supabase.operations import Operation, known_of, pack, unpack
from interlock.contract import Identity, Outcome, Record, Request, Response
from interlock.errors import (
    Conflict,
    Duplicate,
    Forbidden,
    InterlockError,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Unavailable,
    Unsupported,
)
from interlock.http import Reply

__all__ = ["Writer"]

ROWS_AT_ONCE: Final = 1_000
IDS_AT_ONCE: Final = 100
STEPS_AT_ONCE: Final = 4
TRIES: Final = 6

_CHANGING: Final = frozenset({"update", "delete", "restore"})
_SYSTEM: Final = Identity("system", "system", "system")
_RETURNED: Final = {"Prefer": "return=representation"}
_REFUSED: Final = (400, 409, 422)

Step = Callable[[], Awaitable[None]]

_encode = msgspec.json.Encoder().encode


class _Put(msgspec.Struct):
    id: str
    written: bool
    field: str | None = None
    existing_id: str | None = None


_puts = msgspec.json.Decoder(list[_Put])
_taken = msgspec.json.Decoder(dict[str, str])


class Writer:
    """Carries out create, update, delete, restore and put."""

    def __init__(self, caller: Caller, codecs: Mapping[str, Codec], name: str) -> None:
        self._caller = caller
        self._codecs = codecs
        self._name = name

    async def write(self, request: Request) -> Response:
        """One outcome per item. An error of the whole call is raised; where a part of it was written before, that is `OutcomeUnknown`."""
        codec = self._codecs[request.resource]
        if codec.entity.append_only and request.verb in _CHANGING:
            raise Unsupported(self._name, f"{request.verb} of {request.resource}, whose rows are never changed")
        if request.verb == "put":
            outcomes = await self._put(request, codec)
        elif request.verb == "create":
            outcomes = await self._create(request, codec)
        else:
            outcomes = await self._change(request, codec)
        return Response(outcomes=outcomes, backend=self._name, epoch=request.epoch)

    # -- create ---------------------------------------------------------------------------------------------------

    async def _create(self, request: Request, codec: Codec) -> tuple[Outcome, ...]:
        operation = Operation(request)
        parts = [request.rows[at : at + ROWS_AT_ONCE] for at in range(0, len(request.rows), ROWS_AT_ONCE)]
        found: dict[int, tuple[Outcome, ...]] = {}

        def step(number: int) -> Step:
            async def run() -> None:
                found[number] = await self._create_some(request, codec, operation, str(number), parts[number])

            return run

        # Numbers are given in the order of the rows, so numbered rows are not sent side by side.
        together = 1 if codec.entity.sequence is not None else STEPS_AT_ONCE
        await self._all([step(number) for number in range(len(parts))], request, together)
        return tuple(outcome for number in range(len(parts)) for outcome in found[number])

    async def _create_some(
        self, request: Request, codec: Codec, operation: Operation, step: str, rows: Sequence[Record]
    ) -> tuple[Outcome, ...]:
        path = f"{request.resource}?select={codec.select}"
        body = codec.create(rows)
        ids = [row.id for row in rows]
        for attempt in range(TRIES):
            headers = {**_RETURNED, **operation.headers(step, skip=attempt > 0)}
            reply = await self._send("POST", path, request, body, headers)
            if reply.status < 300:
                break
            if (known := known_of(reply)) is not None:
                outcomes = unpack(codec, known, ids)
                if not known.rejected and not all(outcome.ok for outcome in outcomes.values()):
                    # The first call ended before it could keep what became of the others.
                    outcomes = {place: outcome for place, outcome in outcomes.items() if outcome.ok}
                    await self._explain(request, codec, rows, outcomes)
                    await self._reject(request, operation, step, outcomes)
                return tuple(outcomes[place] for place in range(len(ids)))
            if fault_of(reply).code != "23505":
                raise error_of(reply, _concern(request))
        else:
            raise Unavailable(
                "supabase: others took the same unique values at the same time; try again", retry_after=0.1
            )
        written: dict[str, Record] = {row.id: row for row in codec.rows(reply.body)}
        if len(written) == len(ids):
            return tuple([Outcome(one, written[one]) for one in ids])
        outcomes = {}
        for place, one in enumerate(ids):
            row = written.pop(one, None)
            if row is not None:
                outcomes[place] = Outcome(one, row)
        await self._explain(request, codec, rows, outcomes)
        await self._reject(request, operation, step, outcomes)
        return tuple(outcomes[place] for place in range(len(ids)))

    async def _explain(
        self, request: Request, codec: Codec, rows: Sequence[Record], outcomes: dict[int, Outcome]
    ) -> None:
        """Why rows were left out: who has their id, or their unique value."""
        left = [place for place in range(len(rows)) if place not in outcomes]
        held = {row.id for row in await self._held(request, codec, [rows[place].id for place in left])}
        for place in left:
            if rows[place].id in held:
                error = Duplicate(request.resource, "id", rows[place].id)
                outcomes[place] = Outcome(rows[place].id, error=error)
        for unique in codec.entity.unique:
            open_ = [place for place in left if place not in outcomes]
            values = {place: codec.entity.unique_value(unique, rows[place]) for place in open_}
            taken = await self._taken(request, codec, unique.field, [v for v in values.values() if v is not None])
            for place, value in values.items():
                if value is not None and (existing := taken.get(str(value))) is not None:
                    error = Duplicate(request.resource, unique.field, existing)
                    outcomes[place] = Outcome(rows[place].id, error=error)
        if len(outcomes) < len(rows):
            # What was in the way has gone since; the step is done, so the call has to be made anew.
            raise Unavailable(
                "supabase: what was in a row's way has gone meanwhile; call again with a new operation id"
            )

    # -- update, delete, restore ----------------------------------------------------------------------------------

    async def _change(self, request: Request, codec: Codec) -> tuple[Outcome, ...]:
        operation = Operation(request)
        alone = self._one_by_one(request, codec)
        found: dict[int, Outcome] = {}
        for number, places in enumerate(_rounds(request.ids, 1 if alone else IDS_AT_ONCE)):
            try:
                found |= await self._change_some(request, codec, operation, str(number), places)
            except OutcomeUnknown:
                raise
            except InterlockError as error:
                if not found:
                    raise
                raise _partly(request) from error
        return tuple(found[place] for place in range(len(request.ids)))

    def _one_by_one(self, request: Request, codec: Codec) -> bool:
        """Where an item may meet a unique key: a statement that meets one writes nothing, of none of its items."""
        unique = {unique.field for unique in codec.entity.unique}
        return bool(unique) and (request.verb == "restore" or not unique.isdisjoint(request.patch or ()))

    async def _change_some(
        self, request: Request, codec: Codec, operation: Operation, step: str, places: Sequence[int]
    ) -> dict[int, Outcome]:
        ids = [request.ids[place] for place in places]
        outcomes: dict[int, Outcome] = {}
        for attempt in range(TRIES):
            left = [place for place in range(len(ids)) if place not in outcomes]
            name = step if not attempt else f"{step}+{attempt}"
            reply = await self._patch(request, codec, operation, name, [ids[place] for place in left])
            if (known := known_of(reply)) is not None:
                again = unpack(codec, known, [ids[place] for place in left])
                retried = {} if known.rejected else {place for place, outcome in again.items() if not outcome.ok}
                outcomes |= {left[place]: outcome for place, outcome in again.items() if place not in retried}
                if not retried:
                    break
                continue
            if reply.status >= 300:
                if fault_of(reply).code != "23505":
                    raise error_of(reply, _concern(request))
                outcomes |= await self._met(request, codec, operation, name, reply, ids[0])
                break
            written = {row.id: row for row in codec.rows(reply.body)}
            outcomes |= {place: Outcome(ids[place], written[ids[place]]) for place in left if ids[place] in written}
            if len(outcomes) == len(ids):
                break
            rejected = await self._missed(request, codec, ids, outcomes)
            outcomes |= rejected
            await self._reject(request, operation, name, {left.index(place): o for place, o in rejected.items()})
            if len(outcomes) == len(ids):
                break
        else:
            raise Forbidden(f"{request.resource}: the role may not {request.verb}")
        return {places[place]: outcome for place, outcome in outcomes.items()}

    async def _patch(
        self, request: Request, codec: Codec, operation: Operation, step: str, ids: Sequence[str]
    ) -> Reply:
        wanted = [f"id.in.({','.join(map(quoted, ids))})"]
        if request.verb != "restore":
            wanted.append("deleted_at.is.null")
        if request.expected_version is not None:
            wanted.append(f"version.eq.{request.expected_version}")
        if request.verb == "update":
            # A patch of nothing is still a statement: it answers the rows, and changes none.
            body = codec.patch(request.patch) if request.patch else b'{"deleted_at":null}'
        else:
            body = b'{"deleted_at":"now"}' if request.verb == "delete" else b'{"deleted_at":null}'
        path = f"{request.resource}?select={codec.select}&and=({quote(','.join(wanted), safe=',.()')})"
        return await self._send("PATCH", path, request, body, {**_RETURNED, **operation.headers(step)})

    async def _met(
        self, request: Request, codec: Codec, operation: Operation, step: str, reply: Reply, record_id: str
    ) -> dict[int, Outcome]:
        """The one item of a step met a unique key. The statement is undone, so its rejection begins the operation's record."""
        row = next(iter(await self._held(request, codec, [record_id])), None)
        error: InterlockError = NotFound(request.resource, record_id)
        if row is not None:
            patched = msgspec.structs.replace(row, **dict(request.patch or {}))
            error = error_of(reply, _concern(request))
            for unique in codec.entity.unique:
                value = codec.entity.unique_value(unique, patched)
                taken = await self._taken(request, codec, unique.field, [value]) if value is not None else {}
                existing = taken.get(str(value))
                if existing is not None and existing != record_id:
                    error = Duplicate(request.resource, unique.field, existing)
                    break
        outcomes = {0: Outcome(record_id, error=error)}
        await self._reject(request, operation, step, outcomes)
        return outcomes

    async def _missed(
        self, request: Request, codec: Codec, ids: Sequence[str], outcomes: Mapping[int, Outcome]
    ) -> dict[int, Outcome]:
        """Why items were not written. One whose reason has gone meanwhile is left out: it is tried again."""
        left = [place for place in range(len(ids)) if place not in outcomes]
        held = {row.id: row for row in await self._held(request, codec, [ids[place] for place in left])}
        found = {}
        for place in left:
            row = held.get(ids[place])
            if row is None or (row.deleted_at is not None and request.verb != "restore"):
                found[place] = Outcome(ids[place], error=NotFound(request.resource, ids[place]))
            elif request.expected_version is not None and row.version != request.expected_version:
                error = Conflict(request.resource, ids[place], request.expected_version, row)
                found[place] = Outcome(ids[place], error=error)
        return found

    # -- put and the trail ----------------------------------------------------------------------------------------

    async def _put(self, request: Request, codec: Codec) -> tuple[Outcome, ...]:
        if any(row.tenant_id != request.identity.tenant_id for row in request.rows):
            raise Invalid({"tenant_id": "is another tenant's; an image is put under its own tenant"})
        outcomes: list[Outcome] = []
        for at in range(0, len(request.rows), ROWS_AT_ONCE):
            rows = request.rows[at : at + ROWS_AT_ONCE]
            arguments = {"resource": request.resource, "rows": codec.exact(rows), "sequence": request.sequence}
            body = await self._caller.function(
                request.identity,
                "interlock_put",
                arguments,
                concern=Concern(request.resource, request.operation_id or "put"),
                deadline=request.deadline,
            )
            for row, done in zip(rows, _puts.decode(body), strict=True):
                error = Duplicate(request.resource, done.field, done.existing_id) if done.field else None
                outcomes.append(Outcome(row.id, row if done.written else None, error))
        return tuple(outcomes)

    async def pending_audit(self, limit: int) -> Sequence[Record]:
        """The oldest entries of the trail that were not acknowledged, of all tenants."""
        codec = self._codecs["audit"]
        path = f"rpc/interlock_pending_audit?select={codec.select}"
        reply = await self._caller.send("POST", path, Concern("audit"), _SYSTEM, body=_encode({"limit": limit}))
        return codec.rows(reply.body)

    async def acknowledge_audit(self, ids: Sequence[str]) -> None:
        """Forget that these wait."""
        if ids:
            await self._caller.function(
                _SYSTEM, "interlock_acknowledge_audit", {"ids": list(ids)}, concern=Concern("audit")
            )

    # -- calls ----------------------------------------------------------------------------------------------------

    async def _send(self, method: str, path: str, request: Request, body: bytes, headers: Mapping[str, str]) -> Reply:
        return await self._caller.send(
            method,
            path,
            _concern(request),
            request.identity,
            body=body,
            headers=headers,
            deadline=request.deadline,
            also=_REFUSED,
        )

    async def _held(self, request: Request, codec: Codec, ids: Sequence[str]) -> list[Record]:
        """The rows of the ids as they are, deleted ones too."""
        found: list[Record] = []
        for at in range(0, len(ids), IDS_AT_ONCE):
            wanted = f"id.in.({','.join(map(quoted, ids[at : at + IDS_AT_ONCE]))})"
            path = f"{request.resource}?select={codec.select}&and=({quote(wanted, safe=',.()')})"
            concern = Concern(request.resource)
            reply = await self._caller.send("GET", path, concern, request.identity, deadline=request.deadline)
            found += codec.rows(reply.body)
        return found

    async def _taken(self, request: Request, codec: Codec, field: str, values: Sequence[Any]) -> dict[str, str]:
        """Which undeleted record has each of the values, folded as they are compared."""
        if not values:
            return {}
        folded = next(unique.folded for unique in codec.entity.unique if unique.field == field)
        texts = [str(value) for value in values]
        arguments = {"resource": request.resource, "field": field, "folded": folded, "wanted": texts}
        concern = Concern(request.resource)
        body = await self._caller.function(
            request.identity, "interlock_taken", arguments, concern=concern, deadline=request.deadline
        )
        return _taken.decode(body)

    async def _reject(self, request: Request, operation: Operation, step: str, outcomes: Mapping[int, Outcome]) -> None:
        """Keep the rejections of a step with its operation."""
        rejected = pack(outcomes)
        if operation.id and rejected:
            arguments = {
                "operation_id": operation.id,
                "step": step,
                "fingerprint": operation.fingerprint,
                "rejected": rejected,
            }
            await self._caller.function(
                request.identity, "interlock_reject", arguments, concern=_concern(request), deadline=request.deadline
            )

    async def _all(self, steps: Sequence[Step], request: Request, together: int) -> None:
        """Run the steps: the first alone, so that what is wrong with all of them is met once; the others `together` at a time."""
        if not steps:
            return
        await steps[0]()
        left = iter(steps[1:])

        async def worker() -> None:
            for step in left:
                await step()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(together, len(steps) - 1)):
                    group.create_task(worker())
        except* InterlockError as errors:
            raise _partly(request) from errors.exceptions[0]


def _rounds(ids: Sequence[str], most: int) -> list[list[int]]:
    """The places of the ids in groups of at most `most`, none with the same id twice, the same id in the order given."""
    groups: list[list[int]] = []
    seen: dict[str, int] = {}
    rounds: dict[int, list[int]] = {}
    for place, one in enumerate(ids):
        rounds.setdefault(seen.get(one, 0), []).append(place)
        seen[one] = seen.get(one, 0) + 1
    for places in rounds.values():
        groups += [places[at : at + most] for at in range(0, len(places), most)]
    return groups


def _concern(request: Request) -> Concern:
    return Concern(request.resource, request.operation_id)


def _partly(request: Request) -> OutcomeUnknown:
    return OutcomeUnknown(request.operation_id, "a part of the write was carried out, and then it was stopped")
