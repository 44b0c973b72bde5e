"""What is counted, and what Prometheus and programs are told of it."""

from __future__ import annotations

import asyncio
import random

import pytest
from prometheus_client.parser import text_string_to_metric_families

from interlock.abilities import Health
from interlock.contract import Backend, Identity, Outcome, Request, Response, Verb
from interlock.errors import Conflict, DeadlineExceeded, InterlockError, NotFound, OutcomeUnknown, RateLimited
from interlock.layers import Breaker, BreakerSettings, Bulkhead, Cache, CacheSettings
from interlock.observability import Observability
from interlock.observability.durations import BOUNDS, Durations, quantile
from interlock.observability.exposition import Exposition

pytestmark = pytest.mark.anyio

CALLER = Identity("user-1", "tenant-1", "admin")


def asked(verb: Verb = "get", *, record: str = "r-1") -> Request:
    return Request(verb, "customers", CALLER, ids=(record,), operation_id="" if verb == "get" else "op-1")


class Answers:
    """Gives what it is told to."""

    def __init__(self, answer: Response | BaseException | None = None) -> None:
        self.answer = answer or Response()

    async def handle(self, request: Request) -> Response:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def metered(inner: Backend, watched: Observability) -> Backend:
    around = watched.meter_for("customers", "mock")
    assert around is not None
    return around(inner)


def values(watched: Observability) -> dict[str, float]:
    """Each sample by its name and its labels' values."""
    text = Exposition(watched.recorder, "1").text().decode()
    return {
        " ".join((sample.name, *sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotFound("customers", "r-1"), "rejected"),
        (Conflict("customers", "r-1", 1), "rejected"),
        (RateLimited(), "rate_limited"),
        (DeadlineExceeded(), "deadline_exceeded"),
        (OutcomeUnknown("op-1"), "unknown"),
        (ZeroDivisionError("x"), "internal"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
async def test_a_call_that_fails_is_counted_by_how(error: BaseException, outcome: str) -> None:
    watched = Observability()
    with pytest.raises(type(error)):
        await metered(Answers(error), watched).handle(asked())
    (labels, series), *more = watched.recorder.operations
    assert labels == ("customers", "get", "mock", "primary", outcome)
    assert series.count == 1
    assert not more


async def test_a_write_whose_items_all_failed_is_no_success() -> None:
    watched = Observability()
    refused = Outcome("r-1", error=Conflict("customers", "r-1", 1))
    await metered(Answers(Response(outcomes=(refused, refused))), watched).handle(asked("update"))
    await metered(Answers(Response(outcomes=(refused, Outcome("r-2")))), watched).handle(asked("update"))
    assert [(labels[-1], series.count) for labels, series in watched.recorder.operations] == [
        ("ok", 1),
        ("rejected", 1),
    ]


async def test_the_snapshot_adds_the_outcomes_up() -> None:
    watched = Observability()
    inner = Answers()
    outer = metered(inner, watched)
    for _ in range(97):
        await outer.handle(asked())
    for error in (NotFound("customers", "r-1"), DeadlineExceeded(), OutcomeUnknown("op-1")):
        inner.answer = error
        with pytest.raises(InterlockError):
            await outer.handle(asked())
    (calls,) = watched.get_metrics().calls
    assert (calls.service, calls.operation, calls.backend, calls.role) == ("customers", "get", "mock", "primary")
    assert (calls.calls, calls.errors, calls.rejected) == (100, 2, 1)
    assert calls.p50 is not None
    assert calls.p99 is not None
    assert 0 < calls.p50 <= calls.p99


async def test_layers_are_read_and_what_they_counted_outlives_them() -> None:
    watched = Observability()
    cache = Cache(Answers(), CacheSettings(), varies="tenant")
    await cache.handle(asked())
    await cache.handle(asked())
    watched.recorder.opened("customers", "mock", 1, {"cache": cache})
    assert values(watched)["interlock_cache_requests_total customers hit mock"] == 1
    assert values(watched)["interlock_cache_entries customers mock"] == 1
    (route,) = watched.get_metrics().routes
    assert (route.cache_hits, route.cache_misses, route.cache_hit_rate) == (1, 1, 0.5)

    watched.recorder.closed("customers", 1)
    again = Cache(Answers(), CacheSettings(), varies="tenant")
    await again.handle(asked())
    watched.recorder.opened("customers", "mock", 2, {"cache": again})
    assert values(watched)["interlock_cache_requests_total customers hit mock"] == 1
    assert values(watched)["interlock_cache_requests_total customers miss mock"] == 2
    assert values(watched)["interlock_route_epoch customers"] == 2


async def test_the_states_of_the_limits_are_told() -> None:
    watched = Observability()
    breaker = Breaker(Answers(DeadlineExceeded()), BreakerSettings(calls=2, failures=0.5))
    bulkhead = Bulkhead(breaker, 4, 4)
    watched.recorder.opened("customers", "sql", 1, {"bulkhead": bulkhead, "breaker": breaker})
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            await bulkhead.handle(asked())
    found = values(watched)
    assert found["interlock_breaker_state customers open sql"] == 1
    assert found["interlock_breaker_state closed customers sql"] == 0
    assert found["interlock_bulkhead_in_use customers sql"] == 0
    assert watched.get_metrics().routes[0].breaker == "open"


def test_probes_switches_and_unforeseen_errors_are_told() -> None:
    watched = Observability()
    watched.recorder.probed("sql", Health(False, 0.25))
    watched.recorder.probed("real", Health(False, 2.0))
    watched.recorder.opened("customers", "sql", 1, {})
    watched.recorder.switched("customers")
    watched.recorder.unforeseen("gateway")
    found = values(watched)
    assert found["interlock_backend_up sql"] == 0
    assert found["interlock_backend_probe_seconds sql"] == 0.25
    assert "interlock_backend_up real" not in found, "no route leads there"
    assert found["interlock_switch_total customers turned"] == 1
    assert found["interlock_unforeseen_errors_total gateway"] == 1
    snapshot = watched.get_metrics()
    assert (dict(snapshot.backends), snapshot.switches, snapshot.unforeseen) == ({"sql": False}, 1, 1)


def test_two_applications_in_one_process_share_nothing() -> None:
    one, other = Observability(), Observability()
    one.recorder.switched("customers")
    assert "interlock_switch_total customers turned" in values(one)
    assert "interlock_switch_total customers turned" not in values(other)


def test_a_cache_that_is_passed_by_is_told() -> None:
    watched = Observability()
    layer = _SharedCache()
    watched.recorder.opened("customers", "sql", 1, {"cache": layer})
    assert values(watched)["interlock_cache_bypassed customers sql"] == 0
    assert values(watched)["interlock_cache_requests_total bypassed customers sql"] == 3
    layer.state = "bypassed: the server is away"
    assert values(watched)["interlock_cache_bypassed customers sql"] == 1


class _SharedCache(Answers):
    """What the recorder reads of one."""

    state = "serving"
    hits = misses = 0
    bypassed = 3


def test_nothing_is_put_around_a_route_that_nobody_watches() -> None:
    assert Observability(metrics=False).meter_for("customers", "mock") is None


def test_every_second_falls_into_the_bucket_whose_bound_is_not_below_it() -> None:
    durations = Durations("d_seconds", "x", ("a",))
    draw = random.Random(4)
    drawn = [draw.choice((*BOUNDS, draw.uniform(0, 12), 0.0)) for _ in range(2000)]
    for seconds in drawn:
        durations.of("x").observe(seconds)
    ((_, series),) = durations
    for place, bound in enumerate(BOUNDS):
        assert sum(series.buckets[: place + 1]) == sum(seconds <= bound for seconds in drawn)
    assert series.count == len(drawn)
    assert series.seconds == pytest.approx(sum(drawn))


def test_a_quantile_is_within_the_bucket_of_the_true_one() -> None:
    draw = random.Random(5)
    drawn = sorted(draw.lognormvariate(-4, 1.5) for _ in range(5000))
    durations = Durations("d_seconds", "x", ())
    for seconds in drawn:
        durations.of().observe(seconds)
    buckets = durations.of().buckets
    for share in (0.01, 0.5, 0.95, 0.99):
        true = drawn[int(share * len(drawn)) - 1]
        told = quantile(share, BOUNDS, buckets)
        assert told is not None
        if true <= BOUNDS[-1]:
            upper = next(place for place, bound in enumerate(BOUNDS) if true <= bound)
            assert (BOUNDS[upper - 1] if upper else 0) <= told <= BOUNDS[upper]
    assert quantile(0.5, BOUNDS, [0] * (len(BOUNDS) + 1)) is None
