"""Asking a backend how it is, so that the asker gets an answer in time whatever the backend does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from interlock.abilities import Health, Probes
from interlock.contract import Backend, Identity, Query, Request, Response
from interlock.errors import (
    DeadlineExceeded,
    Forbidden,
    InterlockError,
    Misconfigured,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from interlock.health.report import Reason

__all__ = ["PROBER", "Asking", "cheap_read", "probed", "reason_of"]

T = TypeVar("T")

PROBER: Final = Identity("system", "interlock-health", "system")
"""Who reads to see whether reading works: the system, in a tenant that nobody is in and nothing belongs to."""

GRACE: Final = 0.25
"""Seconds that a probe has beyond its own limit, so that its own words for being late are heard."""


class Asking:
    """Makes calls one at a time, each with an end that holds though the call hang, ignore its cancellation or raise what it may not."""

    def __init__(self) -> None:
        self._hangs: asyncio.Future[Any] | None = None

    async def ask(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        """What the call answers. Raises `DeadlineExceeded` after `seconds`, at once while an earlier call hangs, and `Unavailable` for an error that is none of ours."""
        if self._hangs is not None and not self._hangs.done():
            self._hangs.cancel()
            raise DeadlineExceeded("an earlier call still hangs")
        task = asyncio.ensure_future(call())
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_forget)
                self._hangs = task
        if not task.done():
            raise DeadlineExceeded(f"no answer within {seconds:g} s")
        if task.cancelled():
            raise Unavailable("it gave the call up by itself")
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, InterlockError):
            raise error
        raise Unavailable(f"it raised {type(error).__name__}, which is none of the contract's errors") from error

    async def aclose(self) -> None:
        """End the call that hangs, if it can be ended."""
        if self._hangs is not None and not self._hangs.done():
            self._hangs.cancel()
            await asyncio.wait({self._hangs}, timeout=GRACE)


def _forget(task: asyncio.Future[Any]) -> None:
    """Nobody waits for its error any more."""
    if not task.cancelled():
        task.exception()


async def probed(backend: Backend, asking: Asking, seconds: float) -> tuple[Health, Reason]:
    """What the backend's probe says within about `seconds`, and in a word. One without a probe is well, as far as anybody knows."""
    if not isinstance(backend, Probes):
        return Health(True, 0.0, "it has no probe"), "well"
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        found = await asking.ask(lambda: backend.probe(seconds), seconds + GRACE)
    except DeadlineExceeded as error:
        return Health(False, loop.time() - began, error.message), "silent"
    except InterlockError as error:
        return Health(False, loop.time() - began, f"the probe raised: {error.message}"), "broken"
    if not isinstance(found, Health):
        return Health(False, loop.time() - began, "the probe answered something else than its health"), "broken"
    return found, "well" if found.healthy else "unhealthy"


async def cheap_read(backend: Backend, resource: str, asking: Asking, seconds: float) -> Response:
    """One row at most of a tenant that has none: it fails where a table, a right or a connection is missing. Raises the contract's errors."""
    deadline = asyncio.get_running_loop().time() + seconds
    request = Request("find", resource, PROBER, query=Query(limit=1), deadline=deadline)
    answer = await asking.ask(lambda: backend.handle(request), seconds + GRACE)
    if not isinstance(answer, Response):
        raise Unavailable("it answered something else than a response")
    return answer


def reason_of(error: InterlockError) -> Reason:
    """What the error of a cheap read says of the backend."""
    if isinstance(error, (Unauthenticated, Forbidden)):
        return "refused"
    if isinstance(error, (NotFound, Unsupported)):
        return "missing"
    if isinstance(error, RateLimited):
        return "busy"
    if isinstance(error, Misconfigured):
        return "misconfigured"
    return "failing"
