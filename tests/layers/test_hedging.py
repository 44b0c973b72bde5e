"""Hedged reads on a virtual clock: who is asked twice, how often, who wins, and what is left behind by those who leave."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import pytest

from interlock.contract import Backend, Identity, Query, Request, Response
from interlock.errors import DeadlineExceeded, InterlockError, Invalid, OutcomeUnknown, Unavailable
from interlock.layers.deadline import Deadline
from interlock.layers.hedging import Hedge, HedgeSettings
from interlock.testing.simulation import simulate

WHO = Identity("u", "t", "admin")
FIND = Request("find", "tags", WHO, query=Query())
GET = Request("get", "tags", WHO, ids=("r",))
UPDATE = Request("update", "tags", WHO, ids=("r",), patch=MappingProxyType({"name": "y"}), operation_id="o")
USUAL = 0.1
"""What the first fifty reads take, and so how long the next ones are waited for."""
QUICK = 0.08
SECOND = USUAL + QUICK
"""When the second call's answer is there."""
SETTINGS = HedgeSettings()
Answer = Callable[[int], Awaitable[Response]]


class Backed:
    """Answers the nth call as it is told to; in `QUICK` seconds after fifty of `USUAL`. Remembers what became of each."""

    def __init__(self) -> None:
        self.calls = 0
        self.running = 0
        self.cancelled: list[int] = []
        self.special: dict[int, Answer] = {}

    async def handle(self, request: Request) -> Response:
        self.calls += 1
        number = self.calls
        self.running += 1
        try:
            special = self.special.pop(number, None)
            if special is not None:
                return await special(number)
            await asyncio.sleep(QUICK if number > 50 else USUAL)
            return answer(number)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        finally:
            self.running -= 1


def answer(number: int) -> Response:
    return Response(backend=str(number))


def after(seconds: float, error: Exception | None = None) -> Answer:
    async def answered(number: int) -> Response:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return answer(number)

    return answered


def simulated(work: Callable[[], Coroutine[Any, Any, None]], seeds: int = 20) -> None:
    """The work, on several schedules; whatever a loop would only print is an error."""

    async def watched(_: random.Random) -> None:
        troubles: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        await work()
        assert not troubles, troubles

    for seed in range(seeds):
        simulate(watched, seed)


def now() -> float:
    return asyncio.get_running_loop().time()


async def warmed(settings: HedgeSettings = SETTINGS, request: Request = FIND) -> tuple[Backed, Hedge]:
    """A hedge that knows how long reads take, and has saved up for two second calls."""
    backend = Backed()
    hedge = Hedge(backend, settings)
    for _ in range(50):
        await hedge.handle(request)
    assert hedge.delay(request.resource, request.verb) == pytest.approx(USUAL)
    assert hedge.sent == 0
    return backend, hedge


def test_a_late_read_is_answered_by_the_second_call() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        backend.special[51] = after(60)
        began = now()
        got = await hedge.handle(FIND)
        assert got.backend == "52"
        assert now() - began == pytest.approx(SECOND)
        assert backend.cancelled == [51]
        assert (backend.running, hedge.sent, hedge.won) == (0, 1, 1)
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0
        await asyncio.sleep(1)

    simulated(work)


def test_the_first_call_may_still_win() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        backend.special[51] = after(USUAL * 1.5)
        assert (await hedge.handle(FIND)).backend == "51"
        assert backend.cancelled == [52]
        assert (backend.running, hedge.sent, hedge.won) == (0, 1, 0)

    simulated(work)


def test_both_at_one_moment_give_one_answer() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        backend.special[51] = after(SECOND)
        assert (await hedge.handle(FIND)).backend in {"51", "52"}
        assert backend.running == 0
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0
        await asyncio.sleep(0)

    simulated(work, 200)


def test_what_is_answered_in_time_is_asked_once() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        await asyncio.gather(*(hedge.handle(FIND) for _ in range(500)))
        assert backend.calls == 550

    simulated(work, 3)


def test_nothing_is_sent_again_before_enough_is_known() -> None:
    async def work() -> None:
        backend = Backed()
        hedge = Hedge(backend, SETTINGS)
        for number in range(1, 50):
            backend.special[number] = after(number)
            await hedge.handle(FIND)
        assert backend.calls == 49
        assert hedge.delay("tags", "find") is None

    simulated(work, 1)


def test_the_floor_holds_however_fast_the_backend_is() -> None:
    async def work() -> None:
        backend = Backed()
        hedge = Hedge(backend, HedgeSettings(floor=3.0))
        for _ in range(50):
            await hedge.handle(FIND)
        assert hedge.delay("tags", "find") == 3.0
        backend.special[51] = after(2.9)
        await hedge.handle(FIND)
        assert hedge.sent == 0
        backend.special[52] = after(30)
        began = now()
        await hedge.handle(FIND)
        assert now() - began == pytest.approx(3.0 + QUICK)

    simulated(work, 3)


def test_each_kind_of_read_is_measured_by_itself() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        backend.special[51] = after(60)
        began = now()
        await hedge.handle(GET)
        assert now() - began == pytest.approx(60)
        assert (backend.calls, hedge.sent) == (51, 0)
        assert hedge.delay("tags", "get") is None

    simulated(work, 3)


def test_writes_are_sent_once() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        for number in range(51, 151):
            backend.special[number] = after(60)
        await asyncio.gather(*(hedge.handle(UPDATE) for _ in range(100)))
        assert backend.calls == 150
        assert hedge.delay("tags", "update") is None

    simulated(work, 3)


def test_second_calls_are_at_most_their_share() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        draw = random.Random(1)
        reads = 50
        for _ in range(100):
            # The backend has become slow for good, for everybody.
            for number in range(backend.calls + 1, backend.calls + 201):
                backend.special[number] = after(draw.uniform(5, 10))
            await asyncio.gather(*(hedge.handle(FIND) for _ in range(100)))
            reads += 100
            backend.special.clear()
            assert backend.calls - reads == hedge.sent
            assert hedge.sent <= 0.05 * reads
        assert hedge.sent > 0.01 * reads, "the run has seen no second call"

    simulated(work, 2)


def test_what_is_saved_up_has_an_end() -> None:
    async def work() -> None:
        backend, hedge = await warmed(HedgeSettings(burst=1))
        for number in range(51, 151):
            backend.special[number] = after(60)
        await asyncio.gather(*(hedge.handle(FIND) for _ in range(100)))
        assert hedge.sent == 1

    simulated(work, 2)


def test_the_error_of_the_first_waits_for_the_second() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        backend.special[51] = after(USUAL * 1.5, Unavailable("first"))
        assert (await hedge.handle(FIND)).backend == "52"
        assert backend.running == 0

    simulated(work)


def test_where_both_fail_the_first_error_is_raised() -> None:
    async def work() -> None:
        for first, second in ((1.5, 1.0), (1.5, 0.2)):
            backend, hedge = await warmed()
            backend.special[51] = after(USUAL * first, Unavailable("first"))
            backend.special[52] = after(USUAL * second, Unavailable("second"))
            with pytest.raises(Unavailable, match="first"):
                await hedge.handle(FIND)
            assert (backend.calls, backend.running) == (52, 0)

    simulated(work)


def test_an_error_of_the_second_is_not_the_callers() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        backend.special[51] = after(USUAL * 3)
        backend.special[52] = after(USUAL, Unavailable("second"))
        assert (await hedge.handle(FIND)).backend == "51"

    simulated(work)


def test_an_error_that_is_an_answer_waits_for_nobody() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        backend.special[51] = after(USUAL * 1.5, Invalid({"where": "is wrong"}))
        began = now()
        with pytest.raises(Invalid):
            await hedge.handle(FIND)
        assert now() - began == pytest.approx(USUAL * 1.5)
        assert (backend.cancelled, backend.running) == ([52], 0)

    simulated(work)


@pytest.mark.parametrize("moment", [0.5, 1.0, 1.5, 1.8], ids=["before", "when it is sent", "during", "when it answers"])
def test_a_caller_who_leaves_takes_both_along(moment: float) -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        backend.special[51] = after(60)
        reading = asyncio.ensure_future(hedge.handle(FIND))
        asyncio.get_running_loop().call_later(USUAL * moment, reading.cancel)
        await asyncio.wait((reading,))
        if moment < 1.8:
            assert reading.cancelled()
        elif not reading.cancelled():
            assert reading.result().backend == "52"
        assert backend.running == 0
        assert now() < 7

    simulated(work, 100)


def test_a_caller_who_leaves_as_the_second_answers_has_left() -> None:
    ways: set[bool] = set()

    async def work() -> None:
        backend, hedge = await warmed()
        left: list[bool] = []

        async def answers(number: int) -> Response:
            await asyncio.sleep(QUICK)
            asyncio.get_running_loop().call_soon(lambda: left.append(reading.cancel()))
            return answer(number)

        backend.special |= {51: after(60), 52: answers}
        reading = asyncio.ensure_future(hedge.handle(FIND))
        await asyncio.wait((reading,))
        await asyncio.sleep(0.01)
        assert left == [reading.cancelled()], "a cancellation that was accepted must not be lost"
        ways.add(reading.cancelled())

    simulated(work, 200)
    assert ways == {True, False}


def test_a_caller_who_leaves_while_the_second_is_waited_for() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        backend.special[51] = after(USUAL * 1.5, Unavailable("first"))
        backend.special[52] = after(60)
        reading = asyncio.ensure_future(hedge.handle(FIND))
        asyncio.get_running_loop().call_later(USUAL * 3, reading.cancel)
        await asyncio.wait((reading,))
        assert reading.cancelled()
        assert (backend.running, backend.cancelled) == (0, [52])

    simulated(work)


def test_the_callers_own_time_limit_is_told_from_ours() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        for number in (51, 52):
            backend.special[number] = after(60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(USUAL * 2):
                await hedge.handle(FIND)
        assert backend.running == 0
        backend.special[53] = after(60)
        # The limit passes at the very moment at which the second call answers: either may be first, but only one of both.
        try:
            async with asyncio.timeout(SECOND):
                assert (await hedge.handle(FIND)).backend == "54"
        except TimeoutError:
            pass
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0
        await asyncio.sleep(0)

    simulated(work, 200)


def test_inside_a_deadline_both_end_with_it() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        limited = Deadline(hedge, SECOND)
        for number in (51, 52):
            backend.special[number] = after(60)
        with pytest.raises(DeadlineExceeded):
            await limited.handle(FIND)
        assert backend.running == 0
        backend.special[53] = after(60)
        with suppress(DeadlineExceeded):
            assert (await limited.handle(FIND)).backend == "54"
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0
        await asyncio.sleep(0)

    simulated(work, 200)


def test_a_first_call_that_will_not_be_interrupted_gives_its_answer() -> None:
    async def stubborn(number: int) -> Response:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(USUAL)
        return answer(number)

    async def work() -> None:
        backend, hedge = await warmed()
        backend.special[51] = stubborn
        assert (await hedge.handle(FIND)).backend in {"51", "52"}
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0
        await asyncio.sleep(0)

    simulated(work)


def test_the_interruption_is_not_the_callers_error_whatever_it_is_turned_into() -> None:
    async def confused(number: int) -> Response:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            raise Unavailable("the connection was cut") from error
        return answer(number)

    async def work() -> None:
        backend, hedge = await warmed()
        backend.special[51] = confused
        assert (await hedge.handle(FIND)).backend == "52"
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0

    simulated(work)


def test_the_second_call_is_made_in_the_context_of_the_first() -> None:
    whose: ContextVar[str] = ContextVar("whose", default="nobody's")
    seen: dict[int, str] = {}

    class Seeing(Backed):
        async def handle(self, request: Request) -> Response:
            seen[self.calls + 1] = whose.get()
            return await super().handle(request)

    async def work() -> None:
        backend = Seeing()
        hedge = Hedge(backend, SETTINGS)
        for _ in range(50):
            await hedge.handle(FIND)

        async def reads(name: str) -> None:
            whose.set(name)
            await hedge.handle(FIND)

        backend.special |= {51: after(60), 52: after(60)}
        await asyncio.gather(reads("one"), reads("two"))
        assert {seen[51], seen[52]} == {seen[53], seen[54]} == {"one", "two"}

    simulated(work)


def test_closing_leaves_nothing_behind() -> None:
    async def work() -> None:
        backend, hedge = await warmed()
        backend.special[51] = after(USUAL * 5)
        backend.special[52] = after(60)
        reading = asyncio.ensure_future(hedge.handle(FIND))
        await asyncio.sleep(USUAL * 1.5)
        assert backend.running == 2
        await hedge.aclose()
        assert backend.running == 1
        assert (await reading).backend == "51"

    simulated(work)


class Tailed:
    """A backend of which one read in fifty hangs for a while, as real ones do."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.calls = 0

    async def handle(self, request: Request) -> Response:
        self.calls += 1
        await asyncio.sleep(self.draw.uniform(0.005, 0.02) if self.draw.random() > 0.02 else self.draw.uniform(0.5, 1))
        if self.draw.random() < 0.005:
            raise Unavailable("now and then")
        return answer(self.calls)


def test_the_slowest_reads_become_faster() -> None:
    async def times(backend: Backend, draw: random.Random) -> list[float]:
        took = []
        for _ in range(3000):
            began = now()
            try:
                await backend.handle(FIND)
            except InterlockError:
                continue
            took.append(now() - began)
            await asyncio.sleep(draw.expovariate(50))
        return sorted(took)

    async def work(draw: random.Random) -> None:
        plain, tailed = Tailed(draw), Tailed(draw)
        hedge = Hedge(tailed, HedgeSettings())
        without, hedged = await times(plain, draw), await times(hedge, draw)
        assert without[int(len(without) * 0.99)] > 0.5
        assert hedged[int(len(hedged) * 0.99)] < 0.05
        assert tailed.calls <= 3000 * 1.05
        assert hedge.won > 20
        assert sum(hedged) < sum(without) * 0.7

    for seed in range(3):
        simulate(work, seed, most=200_000)


def test_everybody_at_once_and_many_leave() -> None:
    """Reads and writes under deadlines, callers who leave, a backend that hangs and fails: nothing runs on, nothing waits for ever."""

    async def work(draw: random.Random) -> None:
        tailed = Tailed(draw)
        hedge = Hedge(tailed, HedgeSettings(floor=0.001, known=10, quantile=0.5, ratio=0.5))
        stack = Deadline(hedge, 0.3)

        async def reads() -> None:
            for _ in range(draw.randint(1, 20)):
                request = draw.choice((FIND, GET, UPDATE))
                with suppress(Unavailable, DeadlineExceeded, OutcomeUnknown):
                    await stack.handle(request)

        callers = [asyncio.ensure_future(reads()) for _ in range(20)]
        for caller in draw.sample(callers, 8):
            asyncio.get_running_loop().call_later(draw.uniform(0, 0.2), caller.cancel)
        await asyncio.wait(callers)
        for caller in callers:
            if not caller.cancelled():
                caller.result()

    for seed in range(150):
        simulate(work, seed)
