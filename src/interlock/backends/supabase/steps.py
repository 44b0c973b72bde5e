"""One step of a write: one statement of the database, and so one transaction.

Its rows, their versions, the trail, the log of changes and the record of the operation stand or fall together. A step that was done
before answers what it did then, so that it may be sent as often as one likes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from interlock.backends.supabase.client import IN_UTC, Caller
from interlock.backends.supabase.codec import Codec
from interlock.backends.supabase.faults import RIVALS, Concern, error_of, fault_of
from interlock.backends.supabase.operations import Done, Operation, Put, done_of, packed, puts_of, unpacked
from interlock.contract import Request
from interlock.errors import InterlockError, OutcomeUnknown, Unavailable
from interlock.http import Reply

__all__ = ["Steps", "unsettled"]

TRIES: Final = 8
PAUSE: Final = 0.02
"""Seconds, at most, before a statement that met another is sent again; it doubles each time."""

_TELLING: Final = (409, 500)
"""Statuses whose SQLSTATE decides what is done next."""

_encode = msgspec.json.Encoder().encode
_RETURNED: Final = {"Prefer": f"return=representation, {IN_UTC}"}


class Steps:
    """The steps of one request."""

    def __init__(self, caller: Caller, codec: Codec, request: Request, operation: Operation) -> None:
        self._caller = caller
        self._codec = codec
        self._request = request
        self._operation = operation
        self._concern = Concern(request.resource, request.operation_id)

    async def done(
        self, step: str, method: str, path: str, body: bytes, ids: Sequence[str], *, skip: bool = False
    ) -> Done | None:
        """What the statement did to the items; None where it met a unique key and so did nothing.

        With `skip` the rows that would be duplicates are left out, and then the reasons of those are known too.
        """
        headers = {**_RETURNED, **self._operation.headers(step, skip=skip)}
        reply = await self._settled(method, path, body, headers, skip=skip)
        if reply is None:
            return None
        found = self._told(reply)
        if skip and len(found.rows) < len(ids) and reply.status < 300:
            # What was left out, and why, stands in the operation's record.
            with unsettled(self._request):
                found = self._told(await self._send(method, path, body, headers))
        return found

    async def put(self, step: str, arguments: Mapping[str, Any], ids: Sequence[str]) -> list[Put]:
        """What became of each image."""
        reply = await self._settled("POST", "rpc/interlock_put", _encode(arguments), self._operation.headers(step))
        with unsettled(self._request):
            found = None if reply is None else puts_of(reply)
            if found is not None and [put.id for put in found] != list(ids):
                raise Unavailable("supabase answered a put of other rows")
        if found is None:
            raise (
                Unavailable("supabase: a unique key was met that no entity names")
                if reply is None
                else error_of(reply, self._concern)
            )
        return found

    def _told(self, reply: Reply) -> Done:
        with unsettled(self._request):
            if reply.status < 300:
                return Done({row.id: row for row in self._codec.rows(reply.body)}, {})
            known = done_of(self._codec, reply)
        if known is None:
            raise error_of(reply, self._concern)
        return known

    async def _settled(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], *, skip: bool = False
    ) -> Reply | None:
        """The reply to a statement that was carried out, now or before; None where it met a unique key.

        Where it met another one on its way (a deadlock; with `skip`, a value that was not there a moment ago), it is sent again.
        """
        for attempt in range(TRIES):
            reply = await self._send(method, path, body, headers)
            if reply.status < 300:
                return reply
            code = fault_of(reply).code
            if code == "23505" and not skip:
                return None
            if code != "23505" and code not in RIVALS:
                return reply
            await asyncio.sleep(random.uniform(0, PAUSE * 2**attempt))  # noqa: S311 - spreads callers, keeps no secret
        raise Unavailable("supabase: others write the same rows at the same time; try again", retry_after=0.5)

    async def keep(self, step: str, rejected: Mapping[str, InterlockError]) -> dict[str, InterlockError]:
        """Keep why items were not written. Answers what is kept: of several who find it out at once, the first's."""
        if not (self._operation.id and rejected):
            return dict(rejected)
        arguments = {
            "operation_id": self._operation.id,
            "step": step,
            "fingerprint": self._operation.fingerprint,
            "rejected": packed(rejected),
        }
        body = await self._caller.function(
            self._request.identity,
            "interlock_reject",
            arguments,
            concern=self._concern,
            deadline=self._request.deadline,
        )
        with unsettled(self._request):
            return unpacked(self._codec, body)

    async def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        return await self._caller.send(
            method,
            path,
            self._concern,
            self._request.identity,
            body=body,
            headers=headers,
            deadline=self._request.deadline,
            also=_TELLING,
        )


@contextmanager
def unsettled(request: Request) -> Iterator[None]:
    """Whatever goes wrong here comes after a write that was sent, and so leaves the outcome unknown."""
    try:
        yield
    except OutcomeUnknown:
        raise
    except InterlockError as error:
        raise OutcomeUnknown(request.operation_id, "the write was sent, and not all of its outcome came") from error
