"""The bench on Supabase, beside the mock: through HTTP, policies and triggers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from interlock.app import App
from interlock.cli.benching import Plan
from interlock.cli.benching.command import compare
from interlock.cli.benching.plan import VERBS
from interlock.contract import Identity
from interlock.identifiers import new_id
from interlock.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("service", ["customers", "sales", "tickets", "contracts"])
async def test_every_verb_is_measured_on_supabase_and_nothing_is_left(stack: Any, tmp_path: Path, service: str) -> None:
    settings = Settings(
        home=tmp_path,
        supabase_url=stack.url,
        supabase_anon_key=SecretStr(stack.anon_key),
        supabase_jwt_secret=SecretStr(stack.jwt_secret),
    )
    plan = Plan(
        backends=("supabase", "mock"), service=service, verbs=VERBS, calls=10, concurrency=(5,), records=20, bare=True
    )
    report = await compare(settings, plan)
    assert [subject.error or subject.clean_up_error for subject in report.compared] == [None] * 4
    assert all((each.calls, each.errors) == (10, {}) for each in report.results)
    assert len(report.results) == len(VERBS) * 4
    app = await App.open(settings.model_copy(update={"api_mode": "supabase"}))
    try:
        for subject in report.compared[:2]:
            for tenant in subject.tenants:
                crm = app.services(Identity(new_id(), tenant, "admin"))
                for resource in (plan.resource, "customers", "stages"):
                    assert (await crm.of(resource).list(limit=1)).items == ()
                assert (await crm.of(plan.resource).list(limit=1, deleted="only")).items
    finally:
        await app.aclose()
