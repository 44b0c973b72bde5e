"""How calls are sent and timed: so many at once, no longer than allowed, and what percentiles are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.bench_command.conftest import Kept
from tests.bench_command.test_compare import live

from interlock.cli.benching import Plan
from interlock.cli.benching.command import compare
from interlock.cli.benching.contender import Call
from interlock.cli.benching.rounds import nearest, timed
from interlock.errors import NotFound, Unavailable
from interlock.settings import Settings

pytestmark = pytest.mark.anyio

Plans = Callable[..., Plan]


class Gate:
    """A call that ends when it is let through; `full` once so many wait."""

    def __init__(self, places: int) -> None:
        self.open = asyncio.Event()
        self.full = asyncio.Event()
        self.places = places
        self.inside = 0
        self.most = 0
        self.ended = 0

    async def __call__(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside == self.places:
            self.full.set()
        await self.open.wait()
        self.inside -= 1
        self.ended += 1


@pytest.mark.parametrize(("at_once", "calls", "most"), [(1, 20, 1), (7, 20, 7), (50, 20, 20)])
async def test_so_many_are_in_flight_and_no_more(at_once: int, calls: int, most: int) -> None:
    gate = Gate(most)
    running = asyncio.ensure_future(timed([Call(gate, str(number)) for number in range(calls)], at_once))
    await gate.full.wait()
    gate.open.set()
    turn = await running
    assert (gate.most, gate.ended) == (most, calls)
    assert sorted(map(int, turn.done)) == list(range(calls))
    assert (len(turn.latencies), turn.unused) == (calls, [])


async def test_errors_have_no_latency_and_other_exceptions_are_not_hidden() -> None:
    async def good() -> None: ...

    async def missing() -> None:
        raise NotFound("customers", "x")

    async def away() -> None:
        raise Unavailable("away")

    turn = await timed([Call(good), Call(missing), Call(away), Call(missing)], 2)
    assert (len(turn.latencies), turn.errors) == (1, {"not_found": 2, "unavailable": 1})

    async def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await timed([Call(good), Call(broken)], 1)


async def test_no_call_is_sent_after_the_time() -> None:
    async def good() -> None: ...

    turn = await timed([Call(good, str(number)) for number in range(5)], 2, seconds=0)
    assert (turn.done, sorted(turn.unused)) == ([], ["0", "1", "2", "3", "4"])
    assert (turn.rate, len(turn.latencies)) == (0, 0)


async def test_calls_in_flight_may_end_when_it_is_interrupted() -> None:
    gate = Gate(5)
    (running,) = [asyncio.ensure_future(timed([Call(gate) for _ in range(100)], 5))]
    await gate.full.wait()
    running.cancel()
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.wait([running])
    assert running.cancelled()
    assert gate.ended == 5


@pytest.mark.parametrize(
    ("count", "share", "value"),
    [(1, 0.99, 1), (2, 0.5, 1), (100, 0.5, 50), (100, 0.95, 95), (100, 0.99, 99), (101, 0.99, 100), (1000, 0.999, 999)],
)
def test_percentiles_are_by_nearest_rank(count: int, share: float, value: float) -> None:
    assert nearest(list(range(1, count + 1)), share) == value
    assert nearest([], share) is None


def test_rounds_have_enough_calls_to_keep_so_many_in_flight(plan: Plans) -> None:
    twenty = plan(calls=20)
    assert [twenty.rounds_of(at_once) for at_once in (1, 2, 5, 10, 100)] == [5, 5, 2, 1, 1]
    assert plan(calls=None).rounds_of(1000) == 5


@pytest.mark.parametrize("after", [1, 3, 9, 14, 26])
async def test_an_interruption_gives_what_there_is_and_cleans_up(
    settings: Settings, plan: Plans, kept: Kept, after: int
) -> None:
    """`after` so many steps: while a backend opens, while records are made, at the warm-up, in a round."""
    steps = 0
    task: asyncio.Task[object] | None = None

    def step(text: str, turns: int) -> None:
        nonlocal steps
        steps += 1
        if steps == after and task is not None:
            task.cancel()

    wanted = plan(verbs=("get", "create", "delete"), concurrency=(2,))
    task = asyncio.ensure_future(compare(settings, wanted, step=step, open_app=kept.open))
    report = await task
    assert report.interrupted
    assert len(report.results) < 6 or after == 26
    for subject in report.compared:
        assert (await live(kept.apps[subject.backend], subject, ("customers",)))["left"] == 0
        assert subject.clean_up_error is None
