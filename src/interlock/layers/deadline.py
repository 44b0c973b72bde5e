"""Deadlines: no call outlasts its own, or the one that its backend's settings give it."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any, Final

import msgspec

from interlock.contract import Backend, Request, Response
from interlock.errors import DeadlineExceeded, OutcomeUnknown

__all__ = ["READS", "Deadline"]

READS: Final = frozenset({"find", "get", "aggregate"})


class Deadline:
    """Gives each call a deadline (`seconds` from now, unless the caller's comes first), and ends the call when it passes.

    A read that is late raises `DeadlineExceeded`. A late write with an operation id raises `OutcomeUnknown`: it may have been sent.
    """

    def __init__(self, inner: Backend, seconds: float) -> None:
        self._inner = inner.handle
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        # The calls that run, by when they began, and so by when they end: one timer, for the first of them, does for all.
        self._running: dict[_Alarm, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def handle(self, request: Request) -> Response:
        """The inner answer, or the error of its lateness."""
        # Which loop runs is asked once: it costs more than all the rest.
        loop = self._loop
        task = None if loop is None else asyncio.current_task(loop)
        if loop is None or task is None:
            loop, task = self._here()
        until = loop.time() + self._seconds
        timer = None
        if request.deadline is None or until < request.deadline:
            request = msgspec.structs.replace(request, deadline=until)
            alarm = _Alarm(task, until)
            self._running[alarm] = None
            if self._timer is None:
                self._timer = loop.call_at(until, self._sweep, context=Context())
        elif request.deadline <= loop.time():
            raise DeadlineExceeded("the deadline had passed before the call was sent")
        else:
            alarm = _Alarm(task, request.deadline)
            timer = loop.call_at(request.deadline, alarm.ring)
        try:
            answer = await self._inner(request)
        except asyncio.CancelledError as error:
            if alarm.rang and task.uncancel() <= alarm.cancelling:
                raise late(request) from error
            raise
        except BaseException:
            alarm.answered()
            raise
        finally:
            if timer is None:
                self._running.pop(alarm, None)
            else:
                timer.cancel()
        if alarm.rang:
            alarm.answered()
        return answer

    def _here(self) -> tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._loop = task.get_loop()
        self._running.clear()
        self._timer = None
        return self._loop, task

    def _sweep(self) -> None:
        """End what is late, and come back for the next."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        for alarm in tuple(self._running):
            if alarm.until > now:
                self._timer = loop.call_at(alarm.until, self._sweep, context=Context())
                return
            del self._running[alarm]
            alarm.ring()


class _Alarm:
    """Cancels its task when it rings, and remembers that it did."""

    __slots__ = ("cancelling", "rang", "task", "until")

    def __init__(self, task: asyncio.Task[Any], until: float) -> None:
        self.task = task
        self.until = until
        self.cancelling = task.cancelling()
        self.rang = False

    def ring(self) -> None:
        self.rang = True
        self.task.cancel()

    def answered(self) -> None:
        """The call has ended by itself: where it rang all the same, the task is not to be cancelled for it."""
        if self.rang:
            self.task.uncancel()


def late(request: Request) -> DeadlineExceeded | OutcomeUnknown:
    """What a call that was sent and did not end in time is to its caller."""
    if request.verb in READS or not request.operation_id:
        return DeadlineExceeded()
    return OutcomeUnknown(request.operation_id, "the write was sent and its deadline passed")
