"""Deadlines: no call outlasts its own, or the one that its backend's settings give it."""

from __future__ import annotations

import asyncio
from typing import Final

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

    async def handle(self, request: Request) -> Response:
        """The inner answer, or the error of its lateness."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds
        if request.deadline is None or until < request.deadline:
            request = msgspec.structs.replace(request, deadline=until)
        else:
            until = request.deadline
        if until <= loop.time():
            raise DeadlineExceeded("the deadline had passed before the call was sent")
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        alarm = _Alarm(task)
        timer = loop.call_at(until, alarm.ring)
        try:
            answer = await self._inner(request)
        except asyncio.CancelledError as error:
            timer.cancel()
            if alarm.rang and task.uncancel() <= alarm.cancelling:
                raise late(request) from error
            raise
        except BaseException:
            alarm.stop(timer)
            raise
        alarm.stop(timer)
        return answer


class _Alarm:
    """Cancels its task when it rings, and remembers that it did."""

    __slots__ = ("cancelling", "rang", "task")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.task = task
        self.cancelling = task.cancelling()
        self.rang = False

    def ring(self) -> None:
        self.rang = True
        self.task.cancel()

    def stop(self, timer: asyncio.TimerHandle) -> None:
        """The call has ended by itself: where it rang all the same, the task is not to be cancelled for it."""
        timer.cancel()
        if self.rang:
            self.task.uncancel()


def late(request: Request) -> DeadlineExceeded | OutcomeUnknown:
    """What a call that was sent and did not end in time is to its caller."""
    if request.verb in READS or not request.operation_id:
        return DeadlineExceeded()
    return OutcomeUnknown(request.operation_id, "the write was sent and its deadline passed")
