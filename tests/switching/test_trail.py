"""The audit trail is whole where the writer's backend and the trail's backend differ."""

from __future__ import annotations

import pytest
from tests.switching.test_switching import ADMIN, app, real_api

from interlock.app import App
from interlock.identifiers import new_id

__all__ = ["app", "real_api"]

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("writer", "trail"), [("real", "mock"), ("mock", "real"), ("sql", "mock"), ("mock", "sql")])
async def test_writes_at_one_backend_are_in_the_trail_at_another(app: App, writer: str, trail: str) -> None:
    await app.switch_many({"customers": writer, "audit": trail}, ADMIN)
    crm = app.services(ADMIN)
    operation = new_id()
    row = await crm.customers.create(company_name="Acme", operation_id=operation)
    again = await crm.customers.create(company_name="Acme", operation_id=operation)
    assert again.id == row.id
    await crm.customers.update(row.id, city="Bergen")
    await crm.customers.delete(row.id)
    await app.relay.flush()
    entries = (await crm.audit.history("customers", row.id)).items
    assert sorted(entry.action for entry in entries) == ["create", "delete", "update"]
    (update,) = [entry for entry in entries if entry.action == "update"]
    assert '"city":"Bergen"' in update.after
