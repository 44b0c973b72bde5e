"""What a pipeline's guards do for a backend: few try it while it is sick, and no write that it would not know again is sent twice."""

from __future__ import annotations

import asyncio
import random
from types import MappingProxyType

import pytest

from interlock.contract import Backend, Identity, Request, Response
from interlock.errors import InterlockError, OutcomeUnknown, Unavailable
from interlock.layers.pipeline import Guard, LayerSettings, Pipeline
from interlock.testing.simulation import simulate

ME = Identity("u", "t", "admin")
SERVICES = tuple(f"service-{n}" for n in range(10))
GUARDED = LayerSettings(deadline=5.0, retries=0)


class Sick:
    """Takes its time, then fails, until it is well."""

    def __init__(self) -> None:
        self.well = False
        self.calls: list[Request] = []

    async def handle(self, request: Request) -> Response:
        self.calls.append(request)
        await asyncio.sleep(0.05)
        if self.well:
            return Response()
        raise Unavailable("sick")


def reading(service: str) -> Request:
    return Request("get", service, ME, ids=("x",))


async def ask(pipeline: Pipeline, service: str) -> bool:
    try:
        await pipeline.handle(reading(service))
    except InterlockError:
        return False
    return True


def test_all_services_together_send_few_to_a_sick_backend_and_find_out_that_it_is_well() -> None:
    async def work(draw: random.Random) -> None:
        backend, guard = Sick(), Guard(GUARDED)
        pipelines = {
            name: Pipeline(backend, service=name, name="real", settings=GUARDED, guard=guard) for name in SERVICES
        }
        for _ in range(20):
            await asyncio.gather(*(ask(pipeline, name) for name, pipeline in pipelines.items()))
        assert {pipeline.describe()["breaker"]["state"] for pipeline in pipelines.values()} == {"open"}
        for _ in range(10):
            await asyncio.sleep(GUARDED.breaker_pause * 1.3)
            backend.calls.clear()
            callers = [draw.choice(SERVICES) for _ in range(50)]
            assert not any(await asyncio.gather(*(ask(pipelines[name], name) for name in callers)))
            assert 1 <= len(backend.calls) <= 3
        backend.well = True
        for _ in range(20):
            await asyncio.sleep(GUARDED.breaker_pause)
            await asyncio.gather(*(ask(pipeline, name) for name, pipeline in pipelines.items()))
        assert {pipeline.describe()["breaker"]["state"] for pipeline in pipelines.values()} == {"closed"}

    for seed in range(20):
        simulate(work, seed)


class Loses:
    """Carries every write out, and loses the answer of the first."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def handle(self, request: Request) -> Response:
        self.sent.append(request.operation_id)
        if len(self.sent) == 1:
            raise OutcomeUnknown(request.operation_id)
        return Response()


class LosesAndForgets(Loses):
    """Would carry the same write out again."""

    knows_operations = False


@pytest.mark.parametrize(("backend", "sent"), [(Loses(), 2), (LosesAndForgets(), 1)])
def test_a_write_of_unknown_outcome_is_sent_again_only_where_it_is_known_again(backend: Loses, sent: int) -> None:
    async def work(draw: random.Random) -> None:
        inner: Backend = backend
        pipeline = Pipeline(inner, service="tags", name="real", settings=LayerSettings())
        write = Request("update", "tags", ME, ids=("x",), patch=MappingProxyType({}), operation_id="o")
        if sent == 1:
            with pytest.raises(OutcomeUnknown):
                await pipeline.handle(write)
        else:
            await pipeline.handle(write)
        assert backend.sent == ["o"] * sent

    simulate(work, 1)
