"""Two applications, as two processes have them, over one database and one server; and the command that looks after them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.running import command
from tests.shared_cache.conftest import Join

from interlock.app import App
from interlock.cli.exits import Exit
from interlock.contract import Identity
from interlock.errors import Unavailable
from interlock.identifiers import new_id
from interlock.layers.shared import Membership, MembershipSettings
from interlock.layers.shared.redis import RedisStore
from interlock.settings import Settings
from interlock.testing.servers import RedisServer

pytestmark = pytest.mark.anyio


async def test_what_one_application_keeps_the_other_gives_and_what_it_writes_nobody_has_old(
    tmp_path: Path, server: RedisServer, join: Join
) -> None:
    await join(server.url)  # begins the server without a quarantine
    settings = Settings(
        home=tmp_path,
        environment="test",
        seed_size=0,
        api_mode="sql",
        cache=True,
        cache_watch=False,
        warm_up=0.0,
        redis_url=server.url,
    )
    here, there = await App.open(settings), await App.open(settings)
    who, stranger = Identity(new_id(), new_id(), "admin"), Identity(new_id(), new_id(), "admin")
    mine, theirs = here.services(who), there.services(who)
    made = [await mine.customers.create(company_name="A")]
    for _ in range(20):
        first = await mine.customers.list()
        assert set(first.items) == set(made)
        page = await theirs.customers.list()
        assert set(page.items) == set(made)
        assert page.cached, "the other process had asked before"
        assert (await there.services(stranger).customers.list()).items == ()
        made.append(await theirs.customers.create(company_name=f"A{len(made)}"))
    status = {row.service: row.layers["cache"] for row in await there.status() if "cache" in row.layers}
    assert status["customers"]["state"] == "serving"
    await here.switch("customers", "mock")
    await here.switch("customers", "sql")
    assert not (await theirs.customers.list()).cached, "no answer of a retired route"
    await here.aclose()
    await there.aclose()


async def test_a_mock_is_kept_by_its_process_alone(tmp_path: Path, server: RedisServer, join: Join) -> None:
    await join(server.url)
    settings = Settings(home=tmp_path, environment="test", seed_size=0, cache=True, redis_url=server.url)
    here, there = await App.open(settings), await App.open(settings)
    who = Identity(new_id(), new_id(), "admin")
    made = await here.services(who).customers.create(company_name="A")
    assert (await here.services(who).customers.list()).items == (made,)
    assert (await there.services(who).customers.list()).items == ()
    await here.aclose()
    await there.aclose()


async def test_a_server_that_goes_away_costs_nothing_but_the_cache(
    tmp_path: Path, server: RedisServer, join: Join
) -> None:
    await join(server.url)
    settings = Settings(
        home=tmp_path, environment="test", seed_size=0, api_mode="sql", cache=True, redis_url=server.url
    )
    app = await App.open(settings)
    crm = app.services(Identity(new_id(), new_id(), "admin"))
    server.stop()
    made = await crm.customers.create(company_name="A")
    assert [(await crm.customers.list()).items for _ in range(2)] == [(made,)] * 2
    (state,) = {row.layers["cache"]["state"] for row in await app.status() if "cache" in row.layers}
    assert state.startswith("bypassed: ")
    await app.aclose()


async def test_a_process_that_never_reached_the_server_reads_and_does_not_write(tmp_path: Path) -> None:
    """The others, who may be serving from it, could not know of its writes."""
    settings = Settings(
        home=tmp_path, environment="test", seed_size=0, api_mode="sql", cache=True, redis_url=f"unix://{tmp_path}/none"
    )
    app = await App.open(settings)
    crm = app.services(Identity(new_id(), new_id(), "admin"))
    assert (await crm.customers.list()).items == ()
    with pytest.raises(Unavailable, match="INTERLOCK_REDIS_URL"):
        await crm.customers.create(company_name="A")
    await app.aclose()


async def test_the_command_shows_who_is_silent_and_forgets_them(
    tmp_path: Path, server: RedisServer, join: Join
) -> None:
    await join(server.url)
    silent = Membership(
        RedisStore(server.url),
        MembershipSettings(lease=0.01, margin=0),
        member="abc elsewhere 1 1",
        gone=lambda _: False,
    )
    await silent.start()
    assert silent._life is not None
    silent._life.cancel()  # as a machine does that has lost its network
    env = {"INTERLOCK_REDIS_URL": server.url, "INTERLOCK_HOME": str(tmp_path)}

    async def run(*words: str) -> tuple[int, str]:
        done = await asyncio.to_thread(command, tmp_path, *words, env=env)
        return done.returncode, done.stdout

    code, told = await run("--json", "cache", "members")
    assert code == Exit.FAILED
    assert "abc elsewhere 1 1" in [one["id"] for one in json.loads(told) if one["lapsed"]]
    assert (await run("cache", "forget", "abc"))[0] == Exit.OK
    assert (await run("cache", "forget", "abc"))[0] == Exit.NOT_FOUND
    assert (await run("cache", "members"))[0] == Exit.OK
    await silent.store.aclose()
