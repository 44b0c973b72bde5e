"""Switching a service while it is used: nothing is lost, nothing is mixed, nothing is left open."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.app import App, Switch
from interlock.contract import Identity
from interlock.errors import Invalid, Unavailable
from interlock.gateway import create_app
from interlock.gateway.server import serving
from interlock.ports import free_port
from interlock.settings import Settings

pytestmark = pytest.mark.anyio

CALLERS = 50
WRITES_BETWEEN = 5
CALLS_BETWEEN = 12
TENANT = "01900000-0000-7000-8000-0000000000aa"
ADMIN = Identity("01900000-0000-7000-8000-0000000000ab", TENANT, "admin")


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
    settings = Settings(home=tmp_path, seed_size=0, api_base_url=real_api, environment="production")
    app = await App.open(settings)
    try:
        yield app
    finally:
        await app.aclose()


async def test_switches_under_fifty_callers_lose_no_call_and_mix_no_answers(app: App) -> None:
    await no_call_is_lost(app, switches=200)


async def no_call_is_lost(app: App, *, switches: int) -> int:
    """Switch customers to and fro under fifty callers. Returns how many of their writes were acknowledged."""
    calls: Counter[str] = Counter()
    turning = asyncio.Event()
    # Of its own for each kind: in one queue all readers might come to stand before the writers, for whom the switches wait.
    reads, writes = asyncio.Semaphore(CALLERS // 2), asyncio.Semaphore(CALLERS // 2)
    over = asyncio.Event()

    async def write(name: str) -> None:
        crm = app.services(ADMIN)
        turn = 0
        while not over.is_set():
            await writes.acquire()
            turn += 1
            company = f"{name}-{turn}"
            (outcome,) = await crm.customers.bulk_create([{"company_name": company}])
            assert outcome.error is None
            calls["written"] += 1
            if calls["written"] % WRITES_BETWEEN == 0:
                turning.set()

    async def read() -> None:
        crm = app.services(ADMIN)
        while not over.is_set():
            await reads.acquire()
            page = await crm.customers.list(limit=5)
            assert page.backend in ("mock", "real")
            epochs.setdefault(page.epoch, page.backend)
            assert epochs[page.epoch] == page.backend, "one epoch answered from two backends"
            calls["read"] += 1

    epochs: dict[int, str] = {app.router.route("customers").epoch: "mock"}
    draw = random.Random(7)
    callers = [asyncio.ensure_future(write(f"w{n}") if n % 2 else read()) for n in range(CALLERS)]
    for _ in range(switches // 2):
        for target in ("real", "mock"):
            done = await app.switch("customers", target, ADMIN)
            assert done.new == target
            epochs[done.epoch] = target
            turning.clear()
            for _ in range(CALLS_BETWEEN // 2):
                reads.release()
                writes.release()
            await turning.wait()
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(0)
    over.set()
    for _ in range(CALLERS):
        reads.release()
        writes.release()
    await asyncio.gather(*callers)

    held = {}
    for name in ("mock", "real"):
        await app.switch("customers", name, ADMIN)
        held[name] = [row.company_name async for row in app.services(ADMIN).customers.iterate()]
    everything = held["mock"] + held["real"]
    assert len(everything) == calls["written"], "an acknowledged write is missing, or one was made twice"
    assert len(set(everything)) == len(everything)
    assert held["mock"], "nothing was ever written to the mock"
    assert held["real"], "nothing was ever written to the real API"
    assert calls["read"] > CALLERS
    return calls["written"]


async def test_each_switch_has_an_epoch_an_audit_entry_and_an_event(app: App) -> None:
    heard: list[Switch] = []
    app.switches.append(heard.append)
    before = app.router.route("customers").epoch
    first = await app.switch("customers", "real", ADMIN)
    second = await app.switch("customers", "mock", ADMIN)
    assert before < first.epoch < second.epoch
    assert [(s.old, s.new) for s in heard] == [("mock", "real"), ("real", "mock")]
    entries = (await app.services(ADMIN).audit.list(action="switch", sort="epoch")).items
    assert [(e.target, e.after) for e in entries] == [
        ("customers", '{"backend":"real"}'),
        ("customers", '{"backend":"mock"}'),
    ]


async def test_a_call_in_flight_finishes_on_the_backend_where_it_began(app: App) -> None:
    route = app.router.route("customers")
    with route.held():
        await app.switch("customers", "real", ADMIN)
        assert app.router.route("customers").backend_name == "real"
        waiting = asyncio.ensure_future(route.drained())
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


async def test_a_switch_to_a_dead_backend_changes_nothing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, seed_size=0, api_base_url=f"http://127.0.0.1:{free_port()}/api/v1")
    app = await App.open(settings)
    try:
        before = app.router.route("customers")
        with pytest.raises(Unavailable, match="nothing was switched"):
            await app.switch("customers", "real", ADMIN)
        assert app.router.route("customers") is before
    finally:
        await app.aclose()


async def test_an_unknown_service_is_named_with_a_suggestion(app: App) -> None:
    with pytest.raises(Invalid, match="did you mean 'customers'"):
        await app.switch("custmers", "real", ADMIN)
