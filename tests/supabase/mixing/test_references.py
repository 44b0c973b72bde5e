"""A record of one service may refer to a record of another one, whichever two backends serve them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from interlock.app import App
from interlock.contract import Identity
from interlock.entities import ENTITIES
from interlock.entity import Entity
from interlock.errors import Invalid
from interlock.gateway import create_app
from interlock.gateway.server import serving
from interlock.identifiers import new_id
from interlock.settings import Settings
from interlock.tokens import VOUCHER_HEADER, TokenIssuer

BACKENDS = ("mock", "sql", "real", "supabase")
BY_RESOURCE = {entity.resource: entity for entity in ENTITIES}
ACROSS = [
    (entity, reference)
    for entity in ENTITIES
    for reference in entity.references
    if entity.resource != "credentials" and BY_RESOURCE[reference.resource].service != entity.service
]
LEAST: dict[str, dict[str, Any]] = {
    "customers": {"company_name": "Acme"},
    "stages": {"label": "A stage", "position": 1, "type": "open"},
    "deals": {"title": "A deal"},
    "tickets": {"subject": "A ticket"},
    "contracts": {"title": "A contract"},
    "notifications": {"kind": "note", "title": "A note"},
    "users": {"display_name": "Somebody", "role": "admin"},
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Path, App, str]]:
    """A real API that trusts the keys in its folder: the folder, the API and its address."""
    home = tmp_path_factory.mktemp("api")
    app = await App.open(Settings(home=home, api_mode="sql", seed_size=0, environment="production", rate_limit=0))
    async with serving(create_app(app)) as address:
        yield home, app, f"{address}/api/v1"
    await app.aclose()


@pytest.fixture(scope="module")
async def app(api: tuple[Path, App, str], stack: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[App]:
    """An application with all four backends."""
    home, _, address = api
    settings = Settings(
        home=home,
        database_url=f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('sql')}/own.db",
        api_base_url=address,
        supabase_url=stack.url,
        supabase_anon_key=stack.anon_key,
        supabase_service_key=stack.service_key,
        supabase_jwt_secret=stack.jwt_secret,
        seed_size=0,
        environment="production",
    )
    from interlock.backends.sql import migrate

    await migrate(settings.sql_url)
    app = await App.open(settings)
    yield app
    await app.aclose()


def row(entity: Entity[Any], **more: Any) -> dict[str, Any]:
    """The least that a record of the entity needs."""
    unique = {"email": f"{new_id()}@mix.test"} if entity.resource == "users" else {}
    return {**LEAST[entity.resource], **unique, **more}


async def needed(crm: Any, entity: Entity[Any], but: str) -> dict[str, str]:
    """What the record refers to besides, at whichever backends serve it."""
    found = {}
    for reference in entity.references:
        if reference.field != but and entity.fields[reference.field].required:
            target = BY_RESOURCE[reference.resource]
            found[reference.field] = (await crm.of(target.resource).create(**row(target))).id
    return found


@pytest.mark.parametrize(("one", "other"), list(itertools.product(BACKENDS, repeat=2)))
async def test_a_reference_is_checked_where_its_target_is_served(app: App, one: str, other: str) -> None:
    for entity, reference in ACROSS:
        target = BY_RESOURCE[reference.resource]
        await app.switch_many({target.service: other})
        await app.switch_many({entity.service: one})
        crm = app.services(Identity(new_id(), new_id(), "admin"))
        aim = await crm.of(target.resource).create(**row(target))
        others = await needed(crm, entity, reference.field)
        service: Any = crm.of(entity.resource)
        made = await service.create(**row(entity, **others, **{reference.field: aim.id}))
        assert getattr(made, reference.field) == aim.id
        (outcome,) = await service.bulk_create([row(entity, **others, **{reference.field: aim.id})])
        assert outcome.ok, (entity.resource, reference.field, outcome.error)
        missing = new_id()
        with pytest.raises(Invalid) as caught:
            await service.create(**row(entity, **others, **{reference.field: missing}))
        assert caught.value.fields == {reference.field: f"there is no such record in {target.resource}"}
        if entity.resource != "notifications":
            again = await crm.of(target.resource).create(**row(target))
            moved = await service.update(made.id, **{reference.field: again.id})
            assert getattr(moved, reference.field) == again.id
            with pytest.raises(Invalid) as caught:
                await service.update(made.id, **{reference.field: missing})
            assert list(caught.value.fields) == [reference.field]


@pytest.mark.parametrize(("one", "other"), list(itertools.product(BACKENDS, repeat=2)))
async def test_the_owner_of_a_file_is_looked_for_where_it_is_served(app: App, one: str, other: str) -> None:
    await app.switch_many({"files": one})
    await app.switch_many({"customers": other})
    crm = app.services(Identity(new_id(), new_id(), "admin"))
    owner = await crm.customers.create(company_name="Acme")
    values: dict[str, Any] = {"name": "a.txt", "content_type": "text/plain", "size": 1, "owner_resource": "customers"}
    made = await crm.files.create(**values, owner_id=owner.id)
    assert made.owner_id == owner.id
    with pytest.raises(Invalid, match="owner_id"):
        await crm.files.create(**values, owner_id=new_id())


async def test_an_api_checks_the_references_of_whoever_is_not_vouched_for(api: tuple[Path, App, str]) -> None:
    _, real, address = api
    me = Identity(new_id(), new_id(), "admin")
    strangers = (None, "nonsense", TokenIssuer.new().voucher(), real.issuer.mint(me, 60))
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {real.issuer.mint(me, 60)}"}) as client:
        contract = {"title": "A contract", "customerId": new_id()}
        for voucher in strangers:
            headers = {} if voucher is None else {VOUCHER_HEADER: voucher}
            refused = await client.post(f"{address}/contracts", json=contract, headers=headers)
            assert (refused.status_code, list(refused.json()["errors"])) == (400, ["customerId"])
        taken = await client.post(
            f"{address}/contracts", json=contract, headers={VOUCHER_HEADER: real.issuer.voucher()}
        )
        assert taken.status_code == 201
        alone = await client.get(f"{address}/contracts", headers={"Authorization": f"Bearer {real.issuer.voucher()}"})
        assert alone.status_code == 401, "a voucher is no log-in"
