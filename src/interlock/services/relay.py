"""Brings audit entries to where the audit trail is served: none lost, none doubled.

A backend writes an entry in each accepted write's own transaction and keeps it pending. Where `audit` is served elsewhere, the
relay puts it there by `put`, which does nothing for an entry that has arrived before, and only then acknowledges it. A crash or a lost
answer at any point repeats a put and loses nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final, Protocol

from interlock.abilities import ForwardsAudit
from interlock.contract import Backend, Identity, Record, Request
from interlock.entities.audit import AuditEntry
from interlock.errors import InterlockError
from interlock.log import get_logger

__all__ = ["AuditRelay"]

BATCH: Final = 500
"""How many entries are handed on at a time."""

ROUNDS: Final = 100
"""How many batches of a source make a round: one that is written to faster than that is not waited for."""

LAST: Final = 5.0
"""Seconds for the round before the end."""

PAUSE: Final = 1.0
"""Seconds between two rounds; after failures longer, up to a minute."""

_log = get_logger("interlock.relay")


class AuditRoute(Protocol):
    """What the relay needs of the route of `audit`."""

    @property
    def backend(self) -> Backend: ...

    @property
    def epoch(self) -> int: ...

    @property
    def handle(self) -> Callable[[Request], Any]: ...


class AuditRelay:
    """Forwards pending entries. `sources` are the backends that write them, by name; `target` is the route of `audit`, now.

    Of a source that is itself where `audit` is served, entries are where they belong, and are only acknowledged.
    """

    def __init__(
        self, sources: Callable[[], Iterable[tuple[str, ForwardsAudit]]], target: Callable[[], AuditRoute]
    ) -> None:
        self._sources = sources
        self._target = target
        self._own: deque[AuditEntry] = deque()
        self._flushing = asyncio.Lock()
        self._recording = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self, pause: float = PAUSE) -> None:
        """Forward in the background until `aclose`. Starting twice does nothing more."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run(pause))

    async def aclose(self) -> None:
        """Stop the background work, after a last round within `LAST` seconds. What is pending then, the next start forwards."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        try:
            async with asyncio.timeout(LAST):
                await self.flush()
        except (InterlockError, TimeoutError) as error:
            _log.warning("audit entries stay pending", error=getattr(error, "code", type(error).__name__))

    async def record(self, *entries: AuditEntry) -> None:
        """Put entries of our own, such as a switch, into the trail. Where that fails they are kept for the next round."""
        self._own.extend(entries)
        await self._put_own()

    async def flush(self) -> int:
        """Forward what is pending, `ROUNDS` batches of each source at most. Answers how many entries arrived.

        Raises what the audit backend raised.
        """
        async with self._flushing:
            await self._put_own()
            forwarded = 0
            for _, source in tuple(self._sources()):
                forwarded += await self._drain(source)
            return forwarded

    async def _run(self, pause: float) -> None:
        wait = pause
        while True:
            await asyncio.sleep(wait)
            try:
                await self.flush()
                wait = pause
            except InterlockError as error:
                wait = min(wait * 2, 60.0)
                _log.warning("audit entries wait for the audit service", error=error.code, seconds=wait)

    async def _put_own(self) -> None:
        async with self._recording:
            while self._own:
                arrived = set(await self._put(tuple(islice(self._own, BATCH))))
                if not arrived:
                    return
                self._own = deque(entry for entry in self._own if entry.id not in arrived)

    async def _drain(self, source: ForwardsAudit) -> int:
        forwarded = 0
        for _ in range(ROUNDS):
            entries = await source.pending_audit(BATCH)
            if not entries:
                return forwarded
            home: object = self._target().backend
            at_home = home is source
            arrived = [entry.id for entry in entries] if at_home else await self._put(entries)
            if not arrived:
                return forwarded
            await source.acknowledge_audit(arrived)
            forwarded += 0 if at_home else len(arrived)
        return forwarded

    async def _put(self, entries: Sequence[Record]) -> list[str]:
        """The ids of the entries that are in the trail now; those that a tenant's backend refused are logged and left out."""
        tenants: dict[str, list[Record]] = {}
        for entry in entries:
            tenants.setdefault(entry.tenant_id, []).append(entry)
        arrived: list[str] = []
        for tenant, rows in tenants.items():
            route = self._target()
            request = Request(
                "put", "audit", Identity("system", tenant, "system"), rows=tuple(rows), sequence=1, epoch=route.epoch
            )
            for outcome in (await route.handle(request)).outcomes:
                if outcome.ok:
                    arrived.append(outcome.id)
                else:
                    _log.error("an audit entry was refused", error=getattr(outcome.error, "code", ""))
        return arrived
