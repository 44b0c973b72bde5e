"""What the layers promise by numbers, counted or on a simulated clock."""

from __future__ import annotations

import asyncio
import random
from types import MappingProxyType

import msgspec
import pytest

from interlock.contract import Backend, Identity, Query, Request, Response
from interlock.entities.customer import Tag
from interlock.errors import DeadlineExceeded, InterlockError, Unavailable
from interlock.layers.breaker import Breaker, BreakerSettings
from interlock.layers.pipeline import Guard, LayerSettings, Pipeline
from interlock.testing.simulation import simulate

ME = Identity("u", "t", "admin")
LIST = Request("find", "tags", ME, query=Query())
ALL = LayerSettings(cache=True, dedup=True, batch=True, hedge=0.05)
STACKS = {
    "single-flight": LayerSettings(dedup=True, deadline=0, concurrency=0, retries=0, breaker_failures=0),
    "everything": ALL,
}


class Place:
    """A backend that takes its time, or hangs, or fails, as told."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds
        self.fails: InterlockError | None = None
        self.hangs = False
        self.calls = 0
        self.inside = 0
        self.most = 0

    async def handle(self, request: Request) -> Response:
        self.calls += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            if self.hangs:
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(self.seconds)
            if self.fails is not None:
                raise self.fails
            return Response(tuple(Tag(id=one, tenant_id="t", name="x") for one in request.ids or ("r",)))
        finally:
            self.inside -= 1


def pipeline(backend: Backend, settings: LayerSettings, guard: Guard | None = None, service: str = "s") -> Pipeline:
    return Pipeline(backend, service=service, name="mock", settings=settings, guard=guard)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("request_", [LIST, Request("get", "tags", ME, ids=("r",))], ids=["find", "get"])
def test_a_thousand_cold_readers_are_one_call(name: str, request_: Request) -> None:
    async def work(draw: random.Random) -> None:
        place = Place()
        stack = pipeline(place, STACKS[name])
        answers = await asyncio.gather(*(stack.handle(request_) for _ in range(1000)))
        assert place.calls == 1
        assert all(answer.rows == answers[0].rows for answer in answers)
        await stack.aclose()

    for seed in range(3):
        simulate(work, seed)


@pytest.mark.parametrize("name", STACKS)
def test_a_cancelled_leader_harms_no_follower(name: str) -> None:
    async def work(draw: random.Random) -> None:
        place = Place()
        stack = pipeline(place, STACKS[name])
        leader = asyncio.ensure_future(stack.handle(LIST))
        await asyncio.sleep(0.01)
        followers = [asyncio.ensure_future(stack.handle(LIST)) for _ in range(20)]
        await asyncio.sleep(draw.choice((0, 0.01)))
        leader.cancel()
        answers = await asyncio.gather(*followers)
        assert len(answers) == 20
        assert leader.cancelled()
        assert place.calls == 1
        await stack.aclose()

    for seed in range(50):
        simulate(work, seed)


@pytest.mark.parametrize("name", STACKS)
def test_an_error_is_never_served_to_a_later_caller(name: str) -> None:
    async def work(draw: random.Random) -> None:
        place = Place()
        stack = pipeline(place, msgspec.structs.replace(STACKS[name], retries=0, breaker_failures=0.0))
        for n in range(10):
            place.fails = Unavailable(f"failure {n}")
            results = await asyncio.gather(*(stack.handle(LIST) for _ in range(5)), return_exceptions=True)
            assert [str(one) for one in results] == [f"failure {n}"] * 5
        place.fails = None
        assert (await stack.handle(LIST)).rows
        await stack.aclose()

    for seed in range(20):
        simulate(work, seed)


@pytest.mark.parametrize("permits", [1, 2, 3])
def test_few_of_fifty_reach_a_sick_backend_at_half_open(permits: int) -> None:
    async def work(draw: random.Random) -> None:
        place = Place()
        place.fails = Unavailable("sick")
        rules = BreakerSettings(permits=permits)
        breaker = Breaker(place, rules, draw=draw)
        await asyncio.gather(*(breaker.handle(LIST) for _ in range(20)), return_exceptions=True)
        assert breaker.state == "open"
        for _ in range(10):
            await asyncio.sleep(rules.pause * 1.3)
            place.calls = 0
            await asyncio.gather(*(breaker.handle(LIST) for _ in range(50)), return_exceptions=True)
            assert 1 <= place.calls <= permits <= 3
        place.fails = None
        for _ in range(permits):
            await asyncio.sleep(rules.pause * 1.3)
            await breaker.handle(LIST)
        assert str(breaker.state) == "closed"

    for seed in range(20):
        simulate(work, seed)


def test_a_trial_that_never_comes_back_gives_way_to_another_after_its_lease() -> None:
    async def work(draw: random.Random) -> None:
        place = Place()
        place.fails = Unavailable("sick")
        rules = BreakerSettings(permits=1, lease=5.0)
        breaker = Breaker(place, rules, draw=draw)
        await asyncio.gather(*(breaker.handle(LIST) for _ in range(20)), return_exceptions=True)
        await asyncio.sleep(rules.pause * 1.3)
        place.fails, place.hangs = None, True
        lost = asyncio.ensure_future(breaker.handle(LIST))
        await asyncio.sleep(4.9)
        place.hangs = False
        with pytest.raises(Unavailable):
            await breaker.handle(LIST)
        await asyncio.sleep(0.2)
        await breaker.handle(LIST)
        assert breaker.state == "closed"
        lost.cancel()
        await asyncio.wait({lost})

    for seed in range(20):
        simulate(work, seed)


@pytest.mark.parametrize("breaker", [0.0, 0.5], ids=["without a breaker", "with one"])
def test_retries_add_a_tenth_at_most_to_a_backend_that_is_down(breaker: float) -> None:
    async def work(draw: random.Random) -> None:
        place = Place(0.0)
        place.fails = Unavailable("down")
        guard = Guard(LayerSettings())
        settings = LayerSettings(breaker_failures=breaker)
        stacks = [pipeline(place, settings, guard, f"service-{n}") for n in range(10)]
        calls = 5_000
        for _ in range(calls // 50):
            await asyncio.gather(*(draw.choice(stacks).handle(LIST) for _ in range(50)), return_exceptions=True)
        assert place.calls <= calls * 1.1 + 3  # the three that a quiet program may begin with
        if not breaker:
            assert place.calls > calls * 1.05, "and there were retries at all"

    simulate(work, 1, most=10_000_000)


def test_a_hung_backend_of_one_service_leaves_the_others_as_they_were() -> None:
    """Two backends, ten services, one pipeline each: the 99th percentile of the nine, with and without the hang of the tenth's backend."""
    healthy, hung = percentile(hangs=False), percentile(hangs=True)
    assert hung <= healthy * 1.2, (hung, healthy)


def percentile(*, hangs: bool) -> float:
    async def work(draw: random.Random) -> float:
        good, bad = Place(), Place()
        bad.hangs = hangs
        settings = LayerSettings(concurrency=8, queue=50, deadline=1.0)
        guards = Guard(settings), Guard(settings)
        stacks = [pipeline(good, settings, guards[0], f"service-{n}") for n in range(9)]
        stacks.append(pipeline(bad, settings, guards[1], "service-9"))
        took: list[float] = []
        loop = asyncio.get_running_loop()

        async def call(stack: Pipeline, *, counts: bool) -> None:
            good.seconds = draw.uniform(0.01, 0.05)
            began = loop.time()
            try:
                await stack.handle(LIST)
            except InterlockError:
                assert not counts
            if counts:
                took.append(loop.time() - began)

        async def arrive(stack: Pipeline, *, counts: bool) -> None:
            calls = []
            for _ in range(300):
                await asyncio.sleep(draw.expovariate(50))
                calls.append(asyncio.ensure_future(call(stack, counts=counts)))
            await asyncio.gather(*calls)

        await asyncio.gather(*(arrive(stack, counts=stack is not stacks[-1]) for stack in stacks))
        assert len(took) == 9 * 300
        assert bad.most <= settings.concurrency
        return sorted(took)[int(len(took) * 0.99)]

    return simulate(work, 7, most=10_000_000)


def test_a_late_reader_waits_no_longer_than_it_said() -> None:
    async def work(draw: random.Random) -> None:
        place = Place()
        place.hangs = True
        stack = pipeline(place, ALL)
        loop = asyncio.get_running_loop()
        readers = [
            asyncio.ensure_future(stack.handle(Request("find", "tags", ME, query=Query(), deadline=n / 100)))
            for n in range(1, 20)
        ]
        for n, reader in enumerate(readers, 1):
            with pytest.raises(DeadlineExceeded):
                await reader
            assert loop.time() == pytest.approx(n / 100)
        patch = MappingProxyType({"name": "y"})
        with pytest.raises(InterlockError):
            await stack.handle(
                Request("update", "tags", ME, ids=("r",), patch=patch, operation_id="o", deadline=loop.time() + 0.1)
            )
        await stack.aclose()
        assert place.inside == 0

    for seed in range(20):
        simulate(work, seed)
