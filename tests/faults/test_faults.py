"""What is told to go wrong goes wrong, as told, and nothing else does."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from interlock import abilities
from interlock.abilities import Authenticates, FindsAccounts, SignsUrls, StoresFiles
from interlock.app import App
from interlock.backends.memory import MemoryBackend
from interlock.contract import Identity, Request, Response
from interlock.errors import (
    Conflict,
    DeadlineExceeded,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    Unsupported,
)
from interlock.identifiers import new_id
from interlock.router import Route
from interlock.seed import DEMO_PASSWORD
from interlock.settings import Settings
from interlock.testing.faults import Faults, Rates
from interlock.testing.harness import Caller, Subject
from interlock.testing.samples import LEDGER, SAMPLES, TEST_ENTITIES

pytestmark = pytest.mark.anyio

ADA = Identity(new_id(), new_id(), "admin", "ada@example.test")


class Sleeps:
    """Stands for `asyncio.sleep`, and keeps what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)


def around(*rates: Rates, **options: Any) -> tuple[Faults, Caller]:
    faults = Faults(MemoryBackend(TEST_ENTITIES), *rates, **options)
    return faults, Caller(Subject(faults))


async def befallen(caller: Caller, calls: int) -> list[bool]:
    found = []
    for _ in range(calls):
        try:
            await caller.find(SAMPLES)
            found.append(False)
        except Unavailable:
            found.append(True)
    return found


# -- abilities ----------------------------------------------------------------------------------------------------


async def test_it_can_what_the_wrapped_backend_can_and_no_more() -> None:
    memory = MemoryBackend(TEST_ENTITIES)
    faults = Faults(memory)
    kinds = [getattr(abilities, name) for name in abilities.__all__]
    protocols = [kind for kind in kinds if getattr(kind, "_is_runtime_protocol", False)]
    assert {StoresFiles, FindsAccounts, SignsUrls} <= set(protocols)
    assert [isinstance(faults, kind) for kind in protocols] == [isinstance(memory, kind) for kind in protocols]


async def test_a_route_finds_the_abilities() -> None:
    route = Route("files", "mock", Faults(MemoryBackend(TEST_ENTITIES)), 1)
    found: object = route.ability(StoresFiles)
    assert found is route.backend
    with pytest.raises(Unsupported, match="SignsUrls"):
        route.ability(SignsUrls)


async def test_faults_wrap_faults() -> None:
    inner = Faults(MemoryBackend(TEST_ENTITIES), Rates(unavailable=1))
    with pytest.raises(Unavailable):
        await Caller(Subject(Faults(inner))).find(SAMPLES)
    assert isinstance(Faults(inner), StoresFiles)


# -- rates --------------------------------------------------------------------------------------------------------


async def test_a_rate_is_honoured_and_a_seed_decides_which_calls() -> None:
    faults, caller = around(Rates(unavailable=0.25), seed=7)
    first = await befallen(caller, 1000)
    assert faults.made == Counter(unavailable=sum(first))
    assert 200 < sum(first) < 300
    assert await befallen(around(Rates(unavailable=0.25), seed=7)[1], 1000) == first
    assert await befallen(around(Rates(unavailable=0.25), seed=8)[1], 1000) != first


async def test_no_rate_is_never_and_a_whole_one_always() -> None:
    assert not any(await befallen(around(Rates())[1], 100))
    assert all(await befallen(around(Rates(unavailable=1))[1], 100))


async def test_what_failed_has_written_nothing() -> None:
    for rates, error in ((Rates(unavailable=1), Unavailable), (Rates(rate_limited=1), RateLimited)):
        faults, caller = around(rates)
        with pytest.raises(error) as raised:
            await caller.add(SAMPLES, label="a")
        assert isinstance(raised.value, (Unavailable, RateLimited))
        assert raised.value.retry_after == 1.0
        assert await Caller(Subject(faults.backend), caller.identity).ids(SAMPLES) == []


async def test_rates_are_of_verbs_and_resources_and_the_first_that_hold_count() -> None:
    narrow = Rates(verbs=frozenset({"find"}), resources=frozenset({LEDGER.resource}), rate_limited=1)
    wide = Rates(verbs=frozenset({"find"}), unavailable=1)
    _, caller = around(narrow, wide)
    await caller.add(SAMPLES, label="a")
    with pytest.raises(RateLimited):
        await caller.find(LEDGER)
    with pytest.raises(Unavailable):
        await caller.find(SAMPLES)


def test_a_share_that_is_none_is_named() -> None:
    with pytest.raises(Invalid) as raised:
        Rates(lost=1.5, conflict=-1, latency=-1)
    assert set(raised.value.fields) == {"lost", "conflict", "latency"}


# -- latency ------------------------------------------------------------------------------------------------------


async def test_each_call_waits() -> None:
    sleeps = Sleeps()
    _, caller = around(Rates(latency=0.5), sleep=sleeps)
    await caller.find(SAMPLES)
    await caller.add(SAMPLES, label="a")
    assert sleeps.asked == [0.5, 0.5]


async def test_a_deadline_within_the_latency_is_exceeded_and_nothing_is_written() -> None:
    sleeps = Sleeps()
    faults, caller = around(Rates(latency=60), sleep=sleeps)
    row = await Caller(Subject(faults.backend), caller.identity).add(SAMPLES, label="a")
    now = asyncio.get_running_loop().time()
    late = caller.request("delete", SAMPLES, ids=(row.id,), operation_id=new_id(), deadline=now + 30)
    with pytest.raises(DeadlineExceeded):
        await faults.handle(late)
    assert len(sleeps.asked) == 1
    assert 0 <= sleeps.asked[0] <= 30
    assert await caller.ids(SAMPLES) == [row.id]


# -- lost answers -------------------------------------------------------------------------------------------------


async def test_a_lost_answer_took_effect_and_its_operation_id_finds_the_first_outcome() -> None:
    faults, caller = around()
    operation_id = new_id()
    rows = ({"id": new_id(), "label": "a"},)
    faults.script("lost")
    with pytest.raises(OutcomeUnknown) as raised:
        await caller.create(SAMPLES, rows, operation_id=operation_id)
    assert raised.value.operation_id == operation_id
    assert await caller.labels(SAMPLES) == ["a"]
    (outcome,) = await caller.create(SAMPLES, rows, operation_id=operation_id)
    assert outcome.row == await caller.one(SAMPLES, outcome.id)
    assert outcome.row.version == 1
    assert await caller.labels(SAMPLES) == ["a"]


async def test_answers_lost_by_rate_are_found_by_calling_again_and_each_write_is_made_once() -> None:
    faults, caller = around(Rates(lost=0.5, unavailable=0.2, conflict=0.3), seed=3)
    sound = Caller(Subject(faults.backend), caller.identity)
    row = await sound.add(SAMPLES, label="0")
    accepted = 0
    for number in range(1, 201):
        request: dict[str, Any] = {"operation_id": new_id(), "expected_version": 1 + accepted}
        while True:
            try:
                (outcome,) = await caller.update(SAMPLES, row.id, {"label": str(number)}, **request)
                break
            except (OutcomeUnknown, Unavailable):
                continue
        accepted += outcome.ok
        assert outcome.ok or isinstance(outcome.error, Conflict)
    assert (await sound.one(SAMPLES, row.id)).version == 1 + accepted
    assert accepted + faults.made["conflict"] == 200
    assert min(faults.made["lost"], faults.made["unavailable"], faults.made["conflict"]) > 10


async def test_a_write_that_was_refused_is_not_called_lost() -> None:
    faults, caller = around(Rates(lost=1))
    refused = caller.request("update", LEDGER, ids=(new_id(),), operation_id=new_id())
    with pytest.raises(Unsupported):
        await faults.handle(refused)


async def test_reads_lose_no_answers() -> None:
    _, caller = around(Rates(lost=1, conflict=1))
    assert await caller.ids(SAMPLES) == []


# -- conflicts ----------------------------------------------------------------------------------------------------


async def test_an_update_meets_a_conflict_with_the_row_as_it_stands_and_changes_nothing() -> None:
    faults, caller = around(Rates(conflict=1))
    row, missing = await caller.add(SAMPLES, label="a"), new_id()
    met, absent = await caller.update(SAMPLES, (row.id, missing), {"label": "b"}, expected_version=1)
    assert isinstance(met.error, Conflict)
    assert (met.error.current, met.error.expected_version) == (row, 1)
    assert "as the backend was told" in str(met.error)
    assert isinstance(absent.error, NotFound)
    assert await caller.one(SAMPLES, row.id) == row
    assert faults.made == Counter(conflict=1)


async def test_a_conflict_stays_the_outcome_of_its_operation() -> None:
    faults, caller = around()
    row = await caller.add(SAMPLES, label="a")
    faults.script("conflict")
    same: dict[str, Any] = {"expected_version": 1, "operation_id": new_id()}
    first = await caller.update(SAMPLES, row.id, {"label": "b"}, **same)
    assert await caller.update(SAMPLES, row.id, {"label": "b"}, **same) == first
    (other,) = await caller.update(SAMPLES, row.id, {"label": "b"}, expected_version=1)
    assert other.ok


async def test_an_update_that_was_accepted_meets_no_conflict_when_it_comes_again() -> None:
    faults, caller = around()
    row = await caller.add(SAMPLES, label="a")
    same: dict[str, Any] = {"expected_version": 1, "operation_id": new_id()}
    first = await caller.update(SAMPLES, row.id, {"label": "b"}, **same)
    faults.script("conflict")
    assert await caller.update(SAMPLES, row.id, {"label": "b"}, **same) == first


# -- scripts ------------------------------------------------------------------------------------------------------


async def test_a_script_holds_for_the_next_calls_and_then_no_more() -> None:
    faults, caller = around()
    faults.script("unavailable", None, "rate_limited")
    with pytest.raises(Unavailable):
        await caller.find(SAMPLES)
    await caller.find(SAMPLES)
    with pytest.raises(RateLimited):
        await caller.find(SAMPLES)
    await caller.find(SAMPLES)


async def test_a_step_waits_for_a_call_that_it_may_befall() -> None:
    faults, caller = around()
    faults.script("lost")
    faults.script("unavailable", verbs={"find"}, resources={LEDGER.resource})
    await caller.find(SAMPLES)
    with pytest.raises(OutcomeUnknown):
        await caller.create(SAMPLES, ({"label": "a"},))
    with pytest.raises(Unavailable):
        await caller.find(LEDGER)


async def test_a_script_is_stronger_than_the_rates() -> None:
    faults, caller = around(Rates(unavailable=1))
    faults.script(None)
    await caller.find(SAMPLES)
    with pytest.raises(Unavailable):
        await caller.find(SAMPLES)


def test_a_fault_that_does_not_exist_is_named() -> None:
    with pytest.raises(Invalid, match="'late' does not exist"):
        around()[0].script("late")  # type: ignore[arg-type]  # what a typo does


# -- settings -----------------------------------------------------------------------------------------------------


async def test_a_mock_that_always_fails(tmp_path: Path) -> None:
    app = await App.open(Settings(home=tmp_path, seed_size=3, mock_error_rate=1.0))
    try:
        session = await app.services().auth.login("admin@acme.test", DEMO_PASSWORD)
        with pytest.raises(Unavailable):
            await app.services(session.identity).customers.list()
        assert {row.health for row in await app.status()} == {"healthy"}
        assert app.router.route("auth").ability(Authenticates)
        assert app.router.route("files").ability(StoresFiles)
    finally:
        await app.aclose()


async def test_a_mock_whose_updates_meet_conflicts(tmp_path: Path) -> None:
    app = await App.open(Settings(home=tmp_path, seed_size=0, mock_conflict_rate=1.0))
    try:
        customers = app.services(ADA).customers
        row = await customers.create(company_name="Ada & Co")
        with pytest.raises(Conflict) as raised:
            await customers.update(row.id, company_name="Ada", expected_version=1)
        assert raised.value.current == row
    finally:
        await app.aclose()


async def test_a_slow_mock_waits_in_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await App.open(Settings(home=tmp_path, seed_size=0, mock_latency=60.0, deadline=120.0))
    try:
        backend = app.router.route("customers").backend
        assert isinstance(backend, Faults)
        sleeps = Sleeps()
        monkeypatch.setattr(backend, "_sleep", sleeps)
        await app.services(ADA).customers.list()
        assert set(sleeps.asked) == {60.0}
    finally:
        await app.aclose()


async def test_a_mock_without_trouble_is_not_wrapped(tmp_path: Path) -> None:
    app = await App.open(Settings(home=tmp_path, seed_size=0))
    try:
        assert isinstance(app.router.route("customers").backend, MemoryBackend)
    finally:
        await app.aclose()


async def test_the_epoch_of_the_request_is_answered_with_a_conflict_too() -> None:
    faults, caller = around(Rates(conflict=1))
    answer: Response = await faults.handle(Request("update", SAMPLES.resource, caller.identity, ids=(), epoch=9))
    assert (answer.epoch, answer.backend) == (9, "mock")
