"""Warming up: what a backend must answer before it serves, and what the new route's cache is filled with."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from interlock.abilities import Health
from interlock.app import App
from interlock.contract import Condition, Group, Identity, Query, Request, Response
from interlock.entities import ENTITIES
from interlock.errors import Forbidden, InterlockError, Misconfigured, RateLimited, Unavailable
from interlock.gateway import create_app
from interlock.gateway.server import serving
from interlock.identifiers import new_id
from interlock.router import Route
from interlock.settings import Settings
from interlock.testing.simulation import simulate
from interlock.warmup import Recent, WarmingUp, WarmUpSettings

TENANT = "01900000-0000-7000-8000-0000000000aa"
ADMIN = Identity("01900000-0000-7000-8000-0000000000ab", TENANT, "admin")


class Target:
    """A backend whose reads fail as told."""

    def __init__(self, fails: Callable[[Request], InterlockError | None] = lambda request: None) -> None:
        self.fails = fails
        self.takes = 0.0
        self.asked: list[Request] = []
        self.at_once = self.most_at_once = 0

    async def probe(self, timeout: float = 2.0) -> Health:
        return Health(True, 0.0)

    async def handle(self, request: Request) -> Response:
        self.asked.append(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.takes)
            error = self.fails(request)
            if error is not None:
                raise error
            return Response()
        finally:
            self.at_once -= 1


def read(record: str = "a", user: str = "u") -> Request:
    return Request("get", "customers", Identity(user, "t", "viewer"), ids=(record,), epoch=1, deadline=0.5)


def warming(**settings: Any) -> WarmingUp:
    return WarmingUp(ENTITIES, WarmUpSettings(**settings))


def simulated(work: Callable[[], Any], seeds: int = 10) -> None:
    for seed in range(seeds):
        simulate(lambda _: work(), seed)


async def remember(up: WarmingUp, *requests: Request, service: str = "customers") -> None:
    handle = up.remembered(service, Target().handle)
    for request in requests:
        await handle(request)


# -- connecting -------------------------------------------------------------------------------------------------------


def test_first_reads_open_as_many_connections_as_there_will_be() -> None:
    async def work() -> None:
        target = Target()
        target.takes = 0.1
        found = await warming().connect({"customers": ("sql", target)})
        assert target.most_at_once == 4
        assert {request.resource for request in target.asked} == {"customers", "tags"}
        assert (found["customers"].reads, found["customers"].failed) == (4, 0)
        assert found["customers"].seconds == pytest.approx(0.1)

    simulated(work)


def test_at_the_start_each_resource_is_read_once() -> None:
    async def work() -> None:
        target = Target()
        services = {entity.service for entity in ENTITIES if not entity.internal} | {"auth", "dashboard"}
        await warming().connect(dict.fromkeys(services, ("sql", target)))
        assert sorted(request.resource for request in target.asked) == sorted(
            entity.resource for entity in ENTITIES if not entity.internal
        )

    simulated(work, 3)


@pytest.mark.parametrize("error", [Unavailable("away"), Misconfigured(["sql: run interlock migrate"])])
def test_a_backend_that_lacks_one_table_may_not_serve(error: InterlockError) -> None:
    async def work() -> None:
        target = Target(lambda request: error if request.resource == "tags" else None)
        with pytest.raises(Unavailable, match=r"'sql' does not serve tags \("):
            await warming().connect({"customers": ("sql", target)})

    simulated(work)


@pytest.mark.parametrize("error", [Forbidden("users only"), RateLimited()])
def test_one_that_refuses_the_system_or_has_much_to_do_may(error: InterlockError) -> None:
    async def work() -> None:
        found = await warming().connect({"customers": ("real", Target(lambda request: error))})
        assert (found["customers"].reads, found["customers"].failed) == (0, 4)

    simulated(work)


def test_one_that_fails_now_and_then_may() -> None:
    async def work() -> None:
        draw = random.Random(3)
        target = Target(lambda request: Unavailable("a hiccup") if draw.random() < 0.3 else None)
        for _ in range(50):
            await warming().connect({"customers": ("sql", target)})

    simulated(work, 3)


def test_a_backend_that_hangs_is_given_up_in_time() -> None:
    async def work() -> None:
        target = Target()
        target.takes = 1e9
        loop = asyncio.get_running_loop()
        with pytest.raises(Unavailable, match="no answer within"):
            await warming(patience=1.0).connect({"customers": ("sql", target)})
        assert loop.time() < 2
        await asyncio.sleep(0.1)
        assert target.at_once == 0

    simulated(work, 3)


# -- filling ----------------------------------------------------------------------------------------------------------


def test_what_was_asked_last_is_asked_again_the_most_asked_first() -> None:
    async def work() -> None:
        up, target = warming(most=3, at_once=1), Target()
        await remember(up, read("a"), *[read("b")] * 3, *[read("c")] * 2, read("d"), read("b", user="v"))
        await asyncio.sleep(5)
        found = await up.fill([Route("customers", "sql", target, 7)])
        assert [request.ids for request in target.asked] == [("b",), ("c",), ("a",)]
        assert {request.epoch for request in target.asked} == {7}
        assert {request.deadline for request in target.asked} == {7.0}, "5 seconds gone, and 2 to fill"
        assert {request.identity.user_id for request in target.asked} == {"u"}
        assert (found["customers"].reads, found["customers"].failed) == (3, 0)

    simulated(work)


def test_only_short_reads_are_remembered_and_few() -> None:
    recent = Recent(most=10)
    handle = recent.around(Target().handle)
    many = tuple(str(number) for number in range(101))
    long = Condition("id", "in", many)
    for request in (
        Request("create", "customers", ADMIN),
        Request("get", "customers", ADMIN, ids=many),
        Request("find", "customers", ADMIN, query=Query(where=long)),
        Request("find", "customers", ADMIN, query=Query(where=Group("and", (long,)))),
        Request("find", "customers", ADMIN, query=Query(where=Group("and", (Group("or", (long,)),)))),
        Request("find", "customers", ADMIN, query=Query(where=Group("and", (Condition("city", "eq", "x"),) * 11))),
    ):
        handle(request).close()  # type: ignore[attr-defined]  # a coroutine that is not run
    assert len(recent) == 0
    for number in range(100):
        handle(read(str(number))).close()  # type: ignore[attr-defined]  # as above
    assert len(recent) == 10


def test_filling_ends_in_time_and_takes_few_places() -> None:
    async def work() -> None:
        up, target = warming(), Target()
        target.takes = 0.1
        await remember(up, *(read(str(number)) for number in range(1000)))
        loop = asyncio.get_running_loop()
        began = loop.time()
        found = await up.fill([Route("customers", "sql", target, 7)])
        assert loop.time() - began <= 2.0
        assert target.most_at_once == 8
        assert 100 <= found["customers"].reads <= 200
        target.takes = 1e9
        found = await up.fill([Route("customers", "sql", target, 8)])
        assert found["customers"].reads == 0
        assert found["customers"].seconds == pytest.approx(2.0)
        await asyncio.sleep(0.1)
        assert target.at_once == 0

    simulated(work, 3)


@pytest.mark.parametrize(
    ("error", "most"), [(Unavailable("away"), 5 + 8), (RateLimited(), 8), (ValueError("x"), 5 + 8)]
)
def test_a_backend_that_fails_is_left_alone_and_the_switch_goes_on(error: Any, most: int) -> None:
    async def work() -> None:
        up, target = warming(), Target(lambda request: error)
        await remember(up, *(read(str(number)) for number in range(100)))
        found = await up.fill([Route("customers", "sql", target, 7)])
        assert 1 <= found["customers"].failed == len(target.asked) <= most

    simulated(work)


def test_several_routes_are_filled_in_turn() -> None:
    async def work() -> None:
        up, target = warming(at_once=1), Target()
        await remember(up, *(read(str(number)) for number in range(50)))
        await remember(up, *(read(str(number)) for number in range(2)), service="sales")
        found = await up.fill([Route(service, "sql", target, 7) for service in ("customers", "sales", "tickets")])
        assert {name: one.reads for name, one in found.items()} == {"customers": 50, "sales": 2, "tickets": 0}

    simulated(work, 3)


def test_what_is_watched_is_asked_once_the_watch_is_there() -> None:
    async def work() -> None:
        up, target = warming(), Target()
        await remember(up, read("a"), read("b"))
        there: list[float] = []

        async def follow(tenant: str, resource: str) -> None:
            assert (tenant, resource) == ("t", "customers")
            await asyncio.sleep(0.3)
            there.append(asyncio.get_running_loop().time())

        async def never(tenant: str, resource: str) -> None:
            await asyncio.get_running_loop().create_future()

        route = Route("customers", "sql", target, 7)
        assert (await up.fill([route], lambda route: follow))["customers"].reads == 2
        assert there == [pytest.approx(0.3)], "once, however many reads there are of it"
        found = await up.fill([route], lambda route: never)
        assert found["customers"].reads == 2
        assert found["customers"].seconds == pytest.approx(1.0), "half of the time"
        await asyncio.sleep(0.1)

    simulated(work)


def test_who_gives_the_switch_up_leaves_nothing_running() -> None:
    async def work() -> None:
        up, target = warming(), Target()
        target.takes = 1.0
        await remember(up, *(read(str(number)) for number in range(100)))
        filling = asyncio.ensure_future(up.fill([Route("customers", "sql", target, 7)]))
        await asyncio.sleep(0.5)
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
        await asyncio.sleep(0.1)
        assert target.at_once == 0

    simulated(work)


def test_without_time_nothing_is_remembered() -> None:
    target = Target()
    assert warming(fill=0.0).remembered("customers", target.handle) == target.handle


# -- through real switches --------------------------------------------------------------------------------------------


@pytest.fixture
async def real_api(tmp_path: Path) -> AsyncIterator[str]:
    """The gateway over sql on SQLite, over real HTTP, trusting the same keys."""
    app = await App.open(Settings(api_mode="sql", home=tmp_path, seed_size=0, environment="production", rate_limit=0))
    try:
        async with serving(create_app(app)) as address:
            yield f"{address}/api/v1"
    finally:
        await app.aclose()


@pytest.fixture
async def app(tmp_path: Path, real_api: str) -> AsyncIterator[App]:
    settings = Settings(home=tmp_path, seed_size=0, api_base_url=real_api, environment="production", cache=True)
    app = await App.open(settings)
    try:
        yield app
    finally:
        await app.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("target", ["sql", "real"])
async def test_after_a_switch_the_first_reads_come_from_the_filled_cache(app: App, target: str) -> None:
    crm = app.services(ADMIN)
    customer = await crm.customers.create(company_name="Acme")
    for _ in range(3):
        await crm.customers.list(limit=5)
        await crm.customers.list(status="active")
    done = await app.switch("customers", target, ADMIN)
    assert done.warm_up.reads >= 4 + 2
    assert done.warm_up.failed == 0
    assert done.warm_up.seconds > 0
    page = await crm.customers.list(limit=5)
    assert (page.backend, page.cached, page.epoch, page.items) == (target, True, done.epoch, ())
    assert (await crm.customers.list(status="active")).cached
    again = await crm.customers.create(company_name="After")
    assert [row.id for row in (await crm.customers.list(limit=5)).items] == [again.id], (
        "a write ends what was filled in"
    )
    back = await app.switch("customers", "mock", ADMIN)
    page = await crm.customers.list(limit=5)
    assert (page.cached, page.epoch, [row.id for row in page.items]) == (True, back.epoch, [customer.id])


@pytest.mark.anyio
async def test_thousand_callers_after_a_switch_cause_no_stampede(app: App) -> None:
    crm = app.services(ADMIN)
    await crm.customers.list(limit=5)
    await app.switch("customers", "sql", ADMIN)
    cache: Any = app._pipelines.of(app.router.route("customers")).layers["cache"]
    misses = cache.misses
    await asyncio.gather(*(crm.customers.list(limit=5) for _ in range(1000)))
    assert cache.misses == misses


@pytest.mark.anyio
async def test_a_backend_without_the_service_s_table_is_not_switched_to(app: App, tmp_path: Path) -> None:
    engine = create_async_engine(app.settings.sql_url)
    async with engine.begin() as connection:
        await connection.execute(sa.text("drop table tags"))
    await engine.dispose()
    before = app.router.table
    with pytest.raises(Unavailable, match=r"does not serve tags .*interlock migrate.*; nothing was switched"):
        await app.switch_many({"sales": "sql", "customers": "sql"}, ADMIN)
    assert app.router.table is before
    assert {mount.name for mount in app._mounts} == {"mock"}
    await app.switch("sales", "sql", ADMIN)


@pytest.mark.anyio
async def test_a_switch_that_is_given_up_while_it_fills_changes_nothing(app: App) -> None:
    crm = app.services(ADMIN)
    await crm.customers.list(limit=5)
    before = app.router.table
    hangs = asyncio.Event()

    async def fill(routes: Any, followed: Any) -> Any:
        hangs.set()
        await asyncio.get_running_loop().create_future()

    whole, app._warming.fill = app._warming.fill, fill  # type: ignore[assignment, method-assign]  # to stop right there
    switching = asyncio.ensure_future(app.switch("customers", "sql", ADMIN))
    await hangs.wait()
    switching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await switching
    assert app.router.table is before
    assert {mount.name for mount in app._mounts} == {"mock"}
    app._warming.fill = whole  # type: ignore[method-assign]  # as above
    assert (await app.switch("customers", "sql", ADMIN)).new == "sql"


@pytest.mark.anyio
async def test_it_starts_before_its_backend_does_and_says_so(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, api_mode="real", api_base_url="http://127.0.0.1:9/api/v1", environment="test")
    app = await App.open(settings)
    try:
        report = await app.health.report()
        assert {service.reason for service in report.services} == {"unhealthy"}
        assert len(report.missing) == 10
    finally:
        await app.aclose()


@pytest.mark.anyio
async def test_what_one_tenant_asked_fills_nothing_for_another(app: App) -> None:
    stranger = app.services(Identity(new_id(), new_id(), "admin"))
    await app.services(ADMIN).customers.list(limit=5)
    await app.switch("customers", "sql", ADMIN)
    assert not (await stranger.customers.list(limit=5)).cached
