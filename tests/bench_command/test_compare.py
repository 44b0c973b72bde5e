"""What a bench measures, on every backend that needs no server of its own, and that it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import msgspec
import pytest
from tests.bench_command.conftest import Kept
from tests.running import free_ports

from interlock.app import App
from interlock.cli.benching import Plan, contender
from interlock.cli.benching.command import compare
from interlock.cli.benching.plan import VERBS
from interlock.cli.benching.report import Measured, Report, Subject
from interlock.cli.benching.work import Work
from interlock.contract import Identity, Request, Response
from interlock.errors import Unavailable
from interlock.gateway import create_app
from interlock.gateway.server import serving
from interlock.identifiers import new_id
from interlock.mounting import Mounts
from interlock.settings import Settings
from interlock.testing.faults import Faults, Rates

pytestmark = pytest.mark.anyio

Plans = Callable[..., Plan]


async def live(app: App, subject: Subject, resources: tuple[str, ...]) -> dict[str, int]:
    """How many records are left in the tenants of one of those compared, and how many were deleted there."""
    found = {"left": 0, "deleted": 0}
    for tenant in subject.tenants:
        crm = app.services(Identity(new_id(), tenant, "admin"))
        for resource in resources:
            found["left"] += (await crm.of(resource).list(limit=1, count="exact")).total or 0
            found["deleted"] += (await crm.of(resource).list(limit=1, count="exact", deleted="only")).total or 0
    return found


def figures(report: Report, **wanted: Any) -> list[Measured]:
    return [each for each in report.results if all(getattr(each, name) == value for name, value in wanted.items())]


@pytest.mark.parametrize(
    ("service", "resources"),
    [
        ("customers", ("customers",)),
        ("sales", ("deals", "stages", "customers")),
        ("tickets", ("tickets", "customers")),
        ("contracts", ("contracts", "customers")),
    ],
)
async def test_every_verb_is_measured_and_nothing_is_left(
    settings: Settings, plan: Plans, kept: Kept, service: str, resources: tuple[str, ...]
) -> None:
    report = await compare(settings, plan(service=service, verbs=VERBS, bare=True), open_app=kept.open)
    assert [each.name for each in report.compared] == ["mock", "mock bare", "sql", "sql bare"]
    assert len(report.results) == len(VERBS) * 2 * 4
    assert all((each.calls, each.errors) == (20, {}) for each in report.results)
    assert not report.failed
    assert not report.interrupted
    for subject in report.compared:
        told = await live(kept.apps[subject.backend], subject, resources)
        assert told["left"] == 0
        assert told["deleted"] >= subject.records_deleted > 0


async def test_the_figures_fit_together(settings: Settings, plan: Plans) -> None:
    report = await compare(settings, plan(calls=101, concurrency=(1,)))
    assert report.relative_to == "mock"
    for each in report.results:
        assert each.p50_ms is not None
        assert each.p95_ms is not None
        assert each.p99_ms is not None
        assert each.highest_ms is not None
        assert 0 < each.p50_ms <= each.p95_ms <= each.p99_ms <= each.highest_ms
        assert each.calls_per_second is not None
        assert each.calls_per_second_lowest is not None
        assert each.calls_per_second_highest is not None
        assert each.calls_per_second_lowest <= each.calls_per_second <= each.calls_per_second_highest
        assert (each.calls, each.rounds) == (101, 5)
    for verb in report.verbs:
        first, second = figures(report, verb=verb)
        assert (first.name, first.p50_relative) == ("mock", 1)
        assert first.p50_ms is not None
        assert second.p50_ms is not None
        assert second.p50_relative == pytest.approx(second.p50_ms / first.p50_ms, rel=1e-3)


async def test_backends_take_turns_and_each_is_first_in_its_turn(settings: Settings, plan: Plans) -> None:
    told: list[str] = []
    wanted = plan(verbs=("get", "find"), concurrency=(1,), calls=30)
    await compare(settings, wanted, step=lambda text, turns: told.append(text))
    turns = [text.partition(",")[0] for text in told if " on " in text]
    rounds = [turns[start : start + 2] for start in range(0, len(turns), 2)]
    assert all(sorted(each) in (["get on mock", "get on sql"], ["find on mock", "find on sql"]) for each in rounds)
    firsts = [each[0] for each in rounds if each[0].startswith("get")]
    assert [len(list(run)) for _, run in groupby(firsts)] == [1] * len(firsts), (
        "the first of a round is the last of the next"
    )


def test_the_work_is_the_same_for_everybody() -> None:
    parents = {"customers": "c", "stages": "s"}
    for resource in ("customers", "deals", "tickets", "contracts"):
        one, other = Work(resource, 7), Work(resource, 7)
        for number in (0, 1, 500):
            assert one.row(number, parents) == other.row(number, parents)
            assert one.word(number) == other.word(number)
            assert one.place(number, 100) == other.place(number, 100)
            assert one.patch(number) == other.patch(number)
        assert one.row(1, parents) != one.row(2, parents)
        assert one.row(1, parents) != Work(resource, 8).row(1, parents)


async def test_nobody_elses_tenant_is_touched(settings: Settings, plan: Plans, kept: Kept) -> None:
    stranger = Identity(new_id(), new_id(), "admin")
    sql = settings.model_copy(update={"api_mode": "sql", "seed_size": 0})
    app = await App.open(sql)
    try:
        crm = app.services(stranger)
        await crm.customers.bulk_create([{"company_name": f"Ours {number}"} for number in range(5)])
        before = (await crm.customers.list()).items, (await crm.audit.list(count="exact")).total
        report = await compare(settings, plan("sql"), open_app=kept.open)
        assert ((await crm.customers.list()).items, (await crm.audit.list(count="exact")).total) == before
        assert stranger.tenant_id not in {tenant for subject in report.compared for tenant in subject.tenants}
    finally:
        await app.aclose()


async def test_tenants_are_new_in_every_run(settings: Settings, plan: Plans) -> None:
    quick = plan("mock", verbs=("get",), concurrency=(1,), bare=True)
    one, other = await compare(settings, quick), await compare(settings, quick)
    tenants = [tenant for report in (one, other) for subject in report.compared for tenant in subject.tenants]
    assert len(set(tenants)) == len(tenants) == 8


async def test_a_real_api_is_measured_through_http(settings: Settings, plan: Plans, kept: Kept) -> None:
    served = await App.open(settings.model_copy(update={"api_mode": "sql", "seed_size": 0}))
    try:
        async with serving(create_app(served)) as base:
            with_api = settings.model_copy(update={"api_base_url": f"{base}/api/v1"})
            report = await compare(with_api, plan("real", "mock", verbs=VERBS, concurrency=(4,)))
        assert all((each.calls, each.errors) == (20, {}) for each in report.results)
        assert report.relative_to == "real"
        assert (await live(served, report.compared[0], ("customers",)))["left"] == 0
    finally:
        await served.aclose()


async def test_layers_are_those_of_the_settings_and_the_cache_is_told_of(settings: Settings, plan: Plans) -> None:
    cached = settings.model_copy(update={"cache": True})
    report = await compare(cached, plan("sql", verbs=("find", "create"), concurrency=(1,), bare=True))
    services, bare = report.compared
    assert "cache" in services.layers
    assert (services.through, bare.through, bare.layers) == ("services", "backend", ())
    (through,) = figures(report, name="sql", verb="find")
    assert through.cached_share is not None
    assert through.cached_share > 0.5, "four filters, asked for again and again"
    (alone,) = figures(report, name="sql bare", verb="find")
    assert alone.cached_share is None
    plain = await compare(settings, plan("sql", verbs=("find",), concurrency=(1,)))
    assert [each.cached_share for each in plain.results] == [None]


# -- trouble ----------------------------------------------------------------------------------------------------------


def troubled(monkeypatch: pytest.MonkeyPatch, *rates: Rates) -> None:
    """From now on the mock meets faults at these rates."""
    monkeypatch.setattr(Mounts, "_troubled", lambda self, backend: Faults(backend, *rates, seed=3))


async def test_errors_are_counted_by_their_code(
    settings: Settings, plan: Plans, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = Rates(unavailable=0.2, verbs=frozenset({"get"})), Rates(conflict=0.3, lost=0.2, verbs=frozenset({"update"}))
    troubled(monkeypatch, *rates)
    wanted = plan("mock", verbs=("get", "update", "find"), calls=100, concurrency=(1,))
    report = await compare(settings, wanted, open_app=kept.open)
    get, update, find = report.results
    assert set(get.errors) == {"unavailable"}
    assert get.calls + sum(get.errors.values()) == 100
    assert set(update.errors) == {"conflict", "outcome_unknown"}
    assert update.calls + sum(update.errors.values()) == 100
    assert (find.calls, find.errors) == (100, {})
    assert (await live(kept.apps["mock"], report.compared[0], ("customers",)))["left"] == 0


async def test_a_verb_that_always_fails_is_given_up_and_the_others_measured(
    settings: Settings, plan: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubled(monkeypatch, Rates(unavailable=1.0, verbs=frozenset({"aggregate"})))
    report = await compare(settings, plan(verbs=("aggregate", "get"), concurrency=(1,)))
    (failed,) = figures(report, name="mock", verb="aggregate")
    assert failed.errors == {"unavailable": 3}
    assert (failed.calls, failed.p50_ms, failed.calls_per_second, failed.p99_ms) == (0, None, None, None)
    (beside,) = figures(report, name="sql", verb="aggregate")
    assert (beside.calls, beside.p50_relative) == (20, None), "there is nothing to be relative to"
    assert figures(report, name="mock", verb="get")[0].calls == 20
    assert report.failed


async def test_a_backend_that_is_away_does_not_keep_the_others_from_it(
    settings: Settings, plan: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contender, "PATIENCE", 0.1)
    (port,) = free_ports(1)
    away = settings.model_copy(update={"api_base_url": f"http://127.0.0.1:{port}/api/v1"})
    report = await compare(away, plan("real", "mock", verbs=("get",), concurrency=(1,)))
    real, mock = report.compared
    assert real.error is not None
    assert (real.error.code, real.clean_up_error, mock.error) == ("unavailable", None, None)
    assert [(each.name, each.calls) for each in report.results] == [("mock", 20)]
    assert report.relative_to == "mock"
    assert report.failed


async def test_what_is_not_configured_is_told_of(settings: Settings, plan: Plans) -> None:
    report = await compare(settings, plan("supabase", "mock", verbs=("get",), concurrency=(1,)))
    assert report.compared[0].error is not None
    assert report.compared[0].error.code == "misconfigured"
    assert [each.name for each in report.results] == ["mock"]


class OneForAll:
    """A backend that keeps no tenants apart."""

    name = "mock"

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.writes = 0

    async def handle(self, request: Request) -> Response:
        self.writes += request.verb in ("create", "update", "delete")
        everybody = replace_identity(request, "everybody")
        answer: Response = await self._inner.handle(everybody)
        return answer


def replace_identity(request: Request, tenant: str) -> Request:
    return msgspec.structs.replace(request, identity=msgspec.structs.replace(request.identity, tenant_id=tenant))


async def test_nothing_is_written_where_tenants_are_not_kept_apart(
    settings: Settings, plan: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[OneForAll] = []

    def one_for_all(self: Mounts, backend: Any) -> OneForAll:
        made.append(OneForAll(backend))
        return made[-1]

    monkeypatch.setattr(Mounts, "_troubled", one_for_all)

    async def open_with_a_record(given: Settings) -> App:
        app = await App.open(given)
        await app.services(Identity(new_id(), new_id(), "admin")).customers.create(company_name="Somebody's")
        return app

    report = await compare(settings, plan("mock", verbs=("create",)), open_app=open_with_a_record)
    assert report.compared[0].error is not None
    assert report.compared[0].error.code == "unsupported"
    assert "nothing was written" in report.compared[0].error.message
    assert made[0].writes == 1, "the record that was there before"
    assert report.results == ()


async def test_what_cannot_be_cleaned_up_is_told_of(
    settings: Settings, plan: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contender, "PATIENCE", 0.1)
    troubled(monkeypatch, Rates(unavailable=1.0, verbs=frozenset({"delete"})))
    report = await compare(settings, plan("mock", verbs=("get",), concurrency=(1,)))
    (subject,) = report.compared
    assert subject.clean_up_error is not None
    assert subject.clean_up_error.code == Unavailable.code
    assert report.failed
