"""Small, exact situations, each of which one protection of the layers is for. A scenario fails where the protection is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import MappingProxyType
from typing import Any, Final

import pytest

from interlock.contract import Aggregate, GroupRow, Identity, Query, Request, Response
from interlock.entities.customer import Tag
from interlock.errors import DeadlineExceeded, Invalid, RateLimited, Unavailable
from interlock.layers.batching import Batch
from interlock.layers.breaker import Breaker, BreakerSettings
from interlock.layers.bulkhead import Bulkhead
from interlock.layers.caching import Cache, CacheSettings
from interlock.layers.deadline import Deadline
from interlock.layers.retry import Budget, Retry, RetrySettings
from interlock.layers.single_flight import SingleFlight
from interlock.testing.simulation import simulate

__all__ = ["SCENARIOS", "Scenario", "play"]

Scenario = Callable[[], Coroutine[Any, Any, None]]

ME: Final = Identity("u", "t", "admin")
SOON: Final = 5.0
LONG: Final = 1000.0


class Backend:
    """Answers after some seconds, with as many versions as it was called; notes who was called and who was cancelled."""

    def __init__(self, takes: float = 0.0) -> None:
        self.takes = takes
        self.error: BaseException | None = None
        self.calls: list[Request] = []
        self.cancelled = 0

    async def handle(self, request: Request) -> Response:
        self.calls.append(request)
        version = len(self.calls)
        try:
            await asyncio.sleep(self.takes)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        if request.verb == "aggregate":
            return Response(groups=(GroupRow((), (version,)),))
        return Response(
            tuple(Tag(id=one, tenant_id=ME.tenant_id, version=version, name="x") for one in request.ids or ("a",))
        )


def get(*ids: str, deadline: float | None = None) -> Request:
    return Request("get", "tags", ME, ids=ids or ("a",), deadline=deadline)


def now() -> float:
    return asyncio.get_running_loop().time()


async def gone(task: asyncio.Task[Any]) -> None:
    """The caller leaves."""
    task.cancel()
    await asyncio.wait((task,))
    await asyncio.sleep(0.01)


async def lists_and_sums() -> None:
    cache = Cache(Backend(), CacheSettings())
    await cache.handle(Request("find", "tags", ME, query=Query()))
    answer = await cache.handle(Request("aggregate", "tags", ME, query=Query(), aggregate=Aggregate()))
    assert answer.groups


async def old_answer_after_a_write() -> None:
    backend = Backend()
    cache = Cache(backend, CacheSettings(ttl=1, stale_if_error=LONG))
    await cache.handle(get())
    await asyncio.sleep(2)
    backend.takes, backend.error = 1.0, Unavailable("away")
    reading = asyncio.ensure_future(cache.handle(get()))
    await asyncio.sleep(0.5)
    backend.takes, backend.error = 0.0, None
    await cache.handle(Request("update", "tags", ME, ids=("a",), patch=MappingProxyType({}), operation_id="o"))
    backend.error = Unavailable("away")
    with pytest.raises(Unavailable):
        await reading


async def ended_answer() -> None:
    cache = Cache(Backend(), CacheSettings(ttl=1))
    await cache.handle(get())
    await asyncio.sleep(2)
    (row,) = (await cache.handle(get())).rows
    assert row.version == 2


async def closing_with_a_refresh() -> None:
    backend = Backend()
    cache = Cache(backend, CacheSettings(ttl=10, early=0.5))
    await cache.handle(get())
    await asyncio.sleep(8)
    backend.takes = LONG
    await cache.handle(get())
    await asyncio.sleep(0.1)
    assert len(backend.calls) == 2
    await asyncio.wait_for(cache.aclose(), SOON)
    assert backend.cancelled == 1


async def last_caller_leaves() -> None:
    backend = Backend(LONG)
    flights = SingleFlight(backend)
    caller = asyncio.ensure_future(flights.handle(get()))
    await asyncio.sleep(1)
    await gone(caller)
    assert backend.cancelled == 1


async def flight_without_a_deadline() -> None:
    backend = Backend()
    await SingleFlight(backend).handle(get(deadline=now() + SOON))
    assert backend.calls[0].deadline is None


async def closing_with_a_flight_from_before_a_write() -> None:
    backend = Backend(LONG)
    flights = SingleFlight(backend)
    caller = asyncio.ensure_future(flights.handle(Request("find", "tags", ME, query=Query())))
    await asyncio.sleep(1)
    flights.forget((ME.tenant_id, "tags"), None)
    await asyncio.wait_for(flights.aclose(), SOON)
    await asyncio.sleep(0.01)
    assert backend.cancelled == 1
    assert caller.cancelled()


async def call_that_is_cancelled_from_below() -> None:
    backend = Backend()
    backend.error = asyncio.CancelledError()
    caller = asyncio.ensure_future(SingleFlight(backend).handle(get()))
    await asyncio.wait((caller,), timeout=SOON)
    assert caller.cancelled()


def places(count: int) -> list[asyncio.Future[Response]]:
    return [asyncio.get_running_loop().create_future() for _ in range(count)]


async def batch_for_nobody() -> None:
    backend, loop = Backend(LONG), asyncio.get_running_loop()
    batch, (place,) = Batch(backend), places(1)
    gathering = batch.gather(get("a"), place, loop)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await batch.handle(get("b"))
    early = backend.cancelled
    place.cancel()
    assert gathering is not None
    gathering.left()
    await asyncio.sleep(0.01)
    assert (early, backend.cancelled) == (0, 1), "while one waited, and when nobody did"


async def one_leaves_a_batch() -> None:
    backend, loop = Backend(), asyncio.get_running_loop()
    batch, waiting = Batch(backend), places(3)
    for one, place in zip("abc", waiting, strict=True):
        batch.gather(get(one), place, loop)
    waiting[1].cancel()
    await asyncio.wait((waiting[0], waiting[2]), timeout=SOON)
    assert [call.ids for call in backend.calls] == [("a", "c")]


async def batch_with_the_latest_deadline() -> None:
    backend, loop = Backend(), asyncio.get_running_loop()
    batch, waiting, latest = Batch(backend), places(2), now() + SOON
    for one, place, deadline in zip("ab", waiting, (now() + 1, latest), strict=True):
        batch.gather(get(one, deadline=deadline), place, loop)
    await asyncio.wait(waiting, timeout=SOON)
    assert [call.deadline for call in backend.calls] == [latest]


async def deadline_within_a_batch() -> None:
    backend, loop = Backend(LONG), asyncio.get_running_loop()
    batch, (place,) = Batch(backend), places(1)
    batch.gather(get("a"), place, loop)
    with pytest.raises(DeadlineExceeded):
        async with asyncio.timeout(SOON):
            await batch.handle(get("b", deadline=now() + 1))
    await batch.aclose()


async def full_queue() -> None:
    bulkhead = Bulkhead(Backend(1.0), 1, 1)
    found = await asyncio.gather(*(bulkhead.handle(get()) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(one, RateLimited) for one in found) == 1


async def refusal() -> None:
    backend = Backend()
    backend.error = Invalid({"name": "is wrong"})
    retry = Retry(backend, RetrySettings(), Budget(0.1, 3))
    with pytest.raises(Invalid):
        await retry.handle(get())
    assert len(backend.calls) == 1


async def late_before_it_was_sent() -> None:
    backend = Backend()
    await asyncio.sleep(1)
    with pytest.raises(DeadlineExceeded):
        await Deadline(backend, 30).handle(get(deadline=0.5))
    assert not backend.calls


class AnswersWhenCancelled:
    """Ends as the bell rings: with an answer, or with an error."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def handle(self, request: Request) -> Response:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            if self.error is not None:
                raise self.error from None
        return Response()


async def answered_as_the_bell_rang() -> None:
    await Deadline(AnswersWhenCancelled(None), 1).handle(get())
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def failed_as_the_bell_rang() -> None:
    with pytest.raises(Unavailable):
        await Deadline(AnswersWhenCancelled(Unavailable("away")), 1).handle(get())
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def failing() -> tuple[Backend, Breaker]:
    """A breaker that has seen five calls fail; it lets one call try, for as long as it likes."""
    backend = Backend()
    backend.error = Unavailable("sick")
    settings = BreakerSettings(calls=2, pause=1.0, permits=1, lease=LONG)
    breaker = Breaker(backend, settings)
    for _ in range(5):
        with pytest.raises(Unavailable):
            await breaker.handle(get())
    return backend, breaker


async def sick_backend() -> None:
    backend, breaker = await failing()
    assert breaker.state == "open"
    assert len(backend.calls) < 5


async def failed_trial() -> None:
    _, breaker = await failing()
    await asyncio.sleep(2)
    with pytest.raises(Unavailable):
        await breaker.handle(get())
    assert breaker.state == "open"


async def trial_given_up() -> None:
    backend, breaker = await failing()
    await asyncio.sleep(2)
    backend.takes, backend.error = LONG, None
    trial = asyncio.ensure_future(breaker.handle(get()))
    await asyncio.sleep(0.1)
    await gone(trial)
    backend.takes = 0.0
    assert (await breaker.handle(get())).rows


SCENARIOS: Final[tuple[Scenario, ...]] = (
    lists_and_sums,
    old_answer_after_a_write,
    ended_answer,
    closing_with_a_refresh,
    last_caller_leaves,
    flight_without_a_deadline,
    closing_with_a_flight_from_before_a_write,
    call_that_is_cancelled_from_below,
    batch_for_nobody,
    one_leaves_a_batch,
    batch_with_the_latest_deadline,
    deadline_within_a_batch,
    full_queue,
    refusal,
    late_before_it_was_sent,
    answered_as_the_bell_rang,
    failed_as_the_bell_rang,
    sick_backend,
    failed_trial,
    trial_given_up,
)


def play(scenario: Scenario, seed: int) -> None:
    """Run it on the schedule of a seed."""
    simulate(lambda draw: scenario(), seed)
