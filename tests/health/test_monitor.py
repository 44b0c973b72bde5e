"""The health monitor on a virtual clock: probes that hang, lie, raise or flap, and what is made of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from interlock.abilities import Health
from interlock.contract import Backend, Request, Response
from interlock.entities import ENTITIES
from interlock.errors import Forbidden, Misconfigured, Unavailable
from interlock.health import PROBER, HealthMonitor, HealthReport, HealthSettings, RouteState, ServiceHealth
from interlock.router import Route, Router
from interlock.testing.simulation import simulate

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
WELL = Health(True, 0.01, "here", "1.2")
READS_ONLY_CUSTOMERS = [entity for entity in ENTITIES if entity.resource in ("customers", "tags")]


class Scripted:
    """A backend whose probe and reads do as the test says, and which counts them."""

    def __init__(self, probe: Callable[[], Awaitable[Any]] | None = None) -> None:
        self.script = probe or self._well
        self.refuses: Callable[[Request], None] = lambda request: None
        self.probes: list[float] = []
        self.reads: list[Request] = []
        self.at_once = self.most_at_once = 0

    async def _well(self) -> Health:
        return WELL

    async def probe(self, timeout: float = 2.0) -> Any:
        self.probes.append(asyncio.get_running_loop().time())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self.script()
        finally:
            self.at_once -= 1

    async def handle(self, request: Request) -> Response:
        self.reads.append(request)
        self.refuses(request)
        return Response()


def now() -> datetime:
    return BEGAN + timedelta(seconds=asyncio.get_running_loop().time())


def monitor_of(router: Router, seed: int = 0, settings: HealthSettings | None = None, **given: Any) -> HealthMonitor:
    return HealthMonitor(
        lambda: router.table, READS_ONLY_CUSTOMERS, settings, now=now, draw=random.Random(seed), **given
    )


def routed(backend: Backend, *services: str, name: str = "mock", epoch: int = 1) -> Router:
    router = Router()
    router.publish(*(Route(service, name, backend, epoch) for service in services or ("customers",)))
    return router


def simulated(work: Callable[[], Coroutine[Any, Any, None]], seeds: int = 10) -> None:
    for seed in range(seeds):
        simulate(lambda _: work(), seed)


def only(report: HealthReport) -> ServiceHealth:
    (service,) = report.services
    return service


def test_a_backend_is_probed_once_however_many_ask_at_once() -> None:
    async def work() -> None:
        backend = Scripted()
        monitor = monitor_of(routed(backend, "customers", "sales"))
        reports = await asyncio.gather(*(monitor.report() for _ in range(500)))
        assert len(backend.probes) == 1
        assert {report.status for report in reports} == {"pass"}
        assert reports[0].backends[0].checked_at == BEGAN
        await monitor.aclose()

    simulated(work)


def test_who_asks_for_an_hour_makes_no_more_probes_than_the_clock_allows() -> None:
    async def work() -> None:
        backend = Scripted()
        monitor = monitor_of(routed(backend), settings=HealthSettings(check_every=0))
        for _ in range(3600):
            for _ in range(3):
                await monitor.report()
            await asyncio.sleep(1)
        assert 3600 / 2.5 - 1 <= len(backend.probes) <= 3600 / 1.5 + 1
        gaps = {round(later - sooner, 6) for sooner, later in zip(backend.probes, backend.probes[1:], strict=False)}
        assert len(gaps) > 1000, "without jitter, all processes would probe in step"
        assert min(gaps) >= 1.5
        assert backend.most_at_once == 1
        await monitor.aclose()

    simulate(lambda _: work(), 1, most=1_000_000)


def test_nobody_asks_and_nothing_is_probed() -> None:
    async def work() -> None:
        backend = Scripted()
        monitor = monitor_of(routed(backend))
        await monitor.report()
        await asyncio.sleep(120)
        asked = len(backend.probes)
        await asyncio.sleep(100_000)
        assert len(backend.probes) == asked
        report = await monitor.report()
        assert report.backends[0].checked_at == now(), "what is old is not told"
        await monitor.aclose()

    simulated(work)


async def _hangs() -> Health:
    await asyncio.get_running_loop().create_future()
    return WELL


async def _hangs_through_cancellation() -> Health:
    for _ in range(3):
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            continue
    return WELL


async def _raises() -> Health:
    raise ValueError("postgres://user:secret@host")


async def _raises_ours() -> Health:
    raise Unavailable("away")


async def _gives_up() -> Health:
    raise asyncio.CancelledError


async def _lies() -> Any:
    return True


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        (_hangs, "silent"),
        (_hangs_through_cancellation, "silent"),
        (_raises, "broken"),
        (_raises_ours, "broken"),
        (_gives_up, "broken"),
        (_lies, "broken"),
    ],
)
def test_a_probe_that_breaks_its_contract_costs_no_more_than_its_deadline(
    probe: Callable[[], Awaitable[Any]], reason: str
) -> None:
    async def work() -> None:
        backend = Scripted(probe)
        other = Scripted()
        router = routed(backend)
        router.publish(Route("sales", "sql", other, 2))
        monitor = monitor_of(router)
        loop = asyncio.get_running_loop()
        report = await monitor.report()
        assert loop.time() <= 2.25
        found = {each.backend: each for each in report.backends}
        assert (found["mock"].status, found["mock"].reason) == ("fail", reason)
        assert found["sql"].status == "pass"
        assert "secret" not in repr(report)
        assert [service.service for service in report.missing] == ["customers"]
        assert backend.most_at_once == 1
        backend.script = other.script
        await asyncio.sleep(30)
        asked = loop.time()
        report = await monitor.report()
        assert loop.time() == asked, "what is known is told at once"
        assert report.backends[0].status == "pass"
        assert backend.most_at_once == 1, "one probe at a time, though the last one hangs"
        await monitor.aclose()

    simulated(work)


def test_it_is_told_since_when_and_logged_once() -> None:
    async def work() -> None:
        backend = Scripted()
        monitor = monitor_of(routed(backend))
        await monitor.report()
        await asyncio.sleep(20)
        backend.script = _raises
        await asyncio.sleep(10)
        down = only(await monitor.report())
        assert (down.status, down.before) == ("fail", "pass")
        assert down.since is not None
        assert BEGAN + timedelta(seconds=20) <= down.since <= BEGAN + timedelta(seconds=23)
        await asyncio.sleep(10)
        assert only(await monitor.report()).since == down.since
        backend.script = backend._well
        await asyncio.sleep(10)
        up = only(await monitor.report())
        assert (up.status, up.before) == ("pass", "fail")
        await monitor.aclose()

    with capture_logs() as logs:
        simulate(lambda _: work(), 3)
    changes = [(log["what"], log["status"]) for log in logs if log["event"] == "health changed"]
    assert changes == [("backend mock", "fail"), ("customers", "fail"), ("backend mock", "pass"), ("customers", "pass")]
    assert "secret" not in repr(logs)


def test_a_missing_table_or_a_revoked_right_is_found_by_reading() -> None:
    async def work() -> None:
        backend = Scripted()
        monitor = monitor_of(routed(backend))

        def without_tags(request: Request) -> None:
            if request.resource == "tags":
                raise Misconfigured(["sql: run interlock migrate"])

        async def after(change: Callable[[Request], None]) -> ServiceHealth:
            backend.refuses = change
            await monitor.report()
            await asyncio.sleep(20)
            return only(await monitor.report())

        assert (await after(lambda request: None)).status == "pass"
        assert {request.resource for request in backend.reads} == {"customers", "tags"}
        request = backend.reads[0]
        assert (request.verb, request.identity, request.query and request.query.limit) == ("find", PROBER, 1)
        assert request.query is not None
        assert request.query.count == "none"
        lost = await after(without_tags)
        assert (lost.status, lost.reason) == ("fail", "misconfigured")
        assert "interlock migrate" in lost.output
        assert not lost.down, "the process can still serve the rest"
        assert (await after(lambda request: None)).status == "pass"

        def revoked(request: Request) -> None:
            raise Forbidden("customers: the role may not do this")

        assert (await after(revoked)).reason == "refused"
        await monitor.aclose()

    simulated(work)


def test_a_backend_that_never_lets_the_system_read_is_not_called_failing() -> None:
    async def work() -> None:
        backend = Scripted()

        def users_only(request: Request) -> None:
            raise Forbidden("users only")

        backend.refuses = users_only
        monitor = monitor_of(routed(backend))
        await monitor.report()
        await asyncio.sleep(20)
        found = only(await monitor.report())
        assert (found.status, found.reason) == ("warn", "unchecked")
        await monitor.aclose()

    simulated(work)


def test_one_failed_read_among_good_ones_is_no_failure() -> None:
    async def work() -> None:
        backend = Scripted()

        def every_second(request: Request) -> None:
            if len(backend.reads) % 2:
                raise Unavailable("a hiccup")

        backend.refuses = every_second
        monitor = monitor_of(routed(backend))
        for _ in range(100):
            assert (await monitor.report()).status == "pass"
            await asyncio.sleep(5)
        await monitor.aclose()

    simulated(work, 3)


@pytest.mark.parametrize(
    ("state", "reason", "status"),
    [
        (RouteState(breaker="closed"), "well", "pass"),
        (RouteState(breaker="open"), "left_alone", "fail"),
        (RouteState(breaker="half_open"), "trying", "warn"),
        (RouteState(breaker="closed", in_use=64, queued=3, places=64), "busy", "warn"),
        (RouteState(breaker="closed", in_use=64, places=64), "well", "pass"),
    ],
)
def test_what_the_layers_say_counts(state: RouteState, reason: str, status: str) -> None:
    async def work() -> None:
        backend = Scripted()
        monitor = monitor_of(routed(backend), state_of=lambda route: state)
        await monitor.report()
        await asyncio.sleep(20)
        found = only(await monitor.report())
        assert (found.reason, found.status, found.down) == (reason, status, False)
        assert found.state == state
        assert bool(backend.reads) == (state.breaker == "closed"), "a backend that is left alone is not read either"
        await monitor.aclose()

    simulated(work, 3)


def test_kept_answers_stand_in_for_a_backend_that_is_away_for_as_long_as_they_are_kept() -> None:
    async def work() -> None:
        def state_of(route: Route) -> RouteState:
            return RouteState(stands_in=0.0 if route.service == "users" else 100.0)

        backend = Scripted()
        monitor = monitor_of(routed(backend, "customers", "users"), state_of=state_of)
        await monitor.report()
        backend.script = _raises
        await asyncio.sleep(10)
        report = await monitor.report()
        assert [(service.status, service.reason) for service in report.services] == [
            ("warn", "stands_in"),
            ("fail", "broken"),
        ]
        assert report.missing == (), "who has a token is still served"
        await asyncio.sleep(50)
        assert (await monitor.report()).missing == ()
        await asyncio.sleep(60)
        assert [service.service for service in (await monitor.report()).missing] == ["customers", "users"]
        await monitor.aclose()

    simulated(work, 3)


def test_a_service_that_is_not_required_makes_nothing_unready() -> None:
    async def work() -> None:
        monitor = monitor_of(routed(Scripted(_raises)), required=lambda service: service != "customers")
        report = await monitor.report()
        assert (report.status, report.missing) == ("fail", ())
        await monitor.aclose()

    simulated(work, 3)


def test_a_switch_is_seen_at_once_and_the_old_backend_left_in_peace() -> None:
    async def work() -> None:
        old, new = Scripted(_hangs), Scripted()
        router = routed(old)
        monitor = monitor_of(router)
        asking = asyncio.ensure_future(monitor.report())
        await asyncio.sleep(1)
        router.publish(Route("customers", "sql", new, 2))
        found = only(await monitor.report())
        assert (found.backend, found.status, found.epoch) == ("sql", "pass", 2)
        await asking
        await asyncio.sleep(10)
        probes = len(old.probes)
        await monitor.report()
        await asyncio.sleep(100)
        assert len(old.probes) == probes
        assert len((await monitor.report()).backends) == 1
        await monitor.aclose()

    simulated(work)


def test_who_leaves_while_waiting_leaves_the_others_their_probe() -> None:
    async def work() -> None:
        async def slowly() -> Health:
            await asyncio.sleep(1)
            return WELL

        backend = Scripted(slowly)
        monitor = monitor_of(routed(backend))
        first = asyncio.ensure_future(monitor.report())
        await asyncio.sleep(0.1)
        second = asyncio.ensure_future(monitor.report())
        await asyncio.sleep(0.1)
        first.cancel()
        assert (await second).status == "pass"
        assert len(backend.probes) == 1
        await monitor.aclose()

    simulated(work)


def test_closing_ends_everything_and_asking_after_it_starts_nothing() -> None:
    async def work() -> None:
        backend = Scripted(_hangs)
        monitor = monitor_of(routed(backend))
        asking = asyncio.ensure_future(monitor.report())
        await asyncio.sleep(0.5)
        await monitor.aclose()
        await asking
        await monitor.aclose()
        assert only(await monitor.report()).reason == "unknown"
        assert len(backend.probes) == 1

    simulated(work)


def test_a_probe_that_flaps_for_hours_leaves_no_task_and_no_memory_behind() -> None:
    async def work(draw: random.Random) -> None:
        async def flapping() -> Health:
            return await draw.choice((_hangs, _raises, _lies, backend._well, backend._well))()

        backend = Scripted(flapping)
        router = routed(backend, "customers", "sales")
        monitor = monitor_of(router)
        for turn in range(500):
            if turn % 25 == 0:
                router.publish(Route("sales", f"backend {turn}", Scripted(flapping), turn + 2))
            await monitor.report()
            await asyncio.sleep(43)
        assert len(monitor._watches) == 2
        assert len(monitor._since) <= 4
        assert backend.most_at_once == 1
        assert len(asyncio.all_tasks()) <= 10
        await monitor.aclose()

    with capture_logs():
        simulate(work, 5, most=5_000_000)
