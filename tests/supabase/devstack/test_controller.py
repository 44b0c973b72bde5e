"""The controller: what it starts, stops, keeps, refuses, and leaves behind, which is nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import psutil
import pytest
from tests.patience import PATIENCE
from tests.supabase.devstack.conftest import PROJECT
from tests.supabase.devstack.test_clients import fetch

from interlock.devstack import Stack, running
from interlock.devstack.parts import PARTS
from interlock.devstack.secrets import Secrets
from interlock.errors import Misconfigured
from supabase import acreate_client

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("programs"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
DEVSTACK = Path(__file__).parents[3] / "devstack"


async def notes(stack: Stack) -> list[str]:
    client = await acreate_client(stack.url, stack.service_key)
    return [row["n"] for row in (await client.table("notes").select("n").order("id").execute()).data]  # type: ignore[index,call-overload,misc]  # rows are dicts


async def add(stack: Stack, text: str) -> None:
    client = await acreate_client(stack.url, stack.service_key)
    await client.table("notes").insert({"tenant_id": "acme", "n": text}).execute()


async def test_data_and_keys_stay_and_migrations_that_came_since_are_applied(folder: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "migrations").mkdir(parents=True)
    for path in (PROJECT / "migrations").iterdir():
        (project / "migrations" / path.name).write_text(path.read_text())
    (project / "seed.sql").write_text((PROJECT / "seed.sql").read_text())
    extra = "insert into public.notes (tenant_id, n) values ('acme', 'extra')"
    async with running(folder, project=project, extra_sql=[extra], seed=True) as stack:
        key = stack.service_key
        await add(stack, "kept")
    later = "alter table public.notes add column later text default 'later';"
    (project / "migrations" / "20270101000000_later.sql").write_text(later)
    async with running(folder, project=project, extra_sql=[extra], seed=True) as stack:
        assert stack.service_key == key
        assert await notes(stack) == ["extra", "kept", "from seed.sql"]
        client = await acreate_client(stack.url, stack.service_key)
        row = (await client.table("notes").select("later").limit(1).execute()).data
        assert row == [{"later": "later"}]


async def test_reset_brings_back_what_was_made_and_nothing_else(folder: Path) -> None:
    extra = "insert into public.notes (tenant_id, n) values ('acme', 'extra')"
    async with running(folder, project=PROJECT, extra_sql=[extra]) as stack:
        await add(stack, "gone soon")
        client = await acreate_client(stack.url, stack.service_key)
        await client.storage.from_("papers").upload("acme/a.txt", b"gone soon too")
        await client.auth.admin.create_user({"email": "gone@acme.test", "password": "gone-with-the-rest"})
        await stack.reset()
        assert await notes(stack) == ["extra"]
        client = await acreate_client(stack.url, stack.service_key)
        assert await client.storage.from_("papers").list("acme") == []
        assert await client.auth.admin.list_users() == []


async def test_the_database_is_in_utc_as_a_hosted_one_is(small: Stack) -> None:
    connection = await asyncpg.connect(small.database_url)
    assert await connection.fetchval("show timezone") == "UTC"
    await connection.close()


async def test_each_part_stops_and_comes_back_with_the_others_running(small: Stack) -> None:
    headers = {"apikey": small.service_key, "authorization": f"Bearer {small.service_key}"}
    asked = {
        "postgrest": "/rest/v1/notes?limit=1",
        "relay": "/realtime/v1/health",
        "functions": "/functions/v1/_health",
    }
    for part in PARTS:
        await small.stop_part(part)
        if path := asked.get(part):
            assert (await asyncio.to_thread(fetch, f"{small.url}{path}", headers))[0] == 503
        await small.start_part(part)
        for path in asked.values():
            ends = time.monotonic() + PATIENCE
            while (found := (await asyncio.to_thread(fetch, f"{small.url}{path}", headers))[0]) != 200:
                assert time.monotonic() < ends, f"{path} answers {found} after {part} was restarted"
                await asyncio.sleep(0.05)


async def test_a_port_that_is_taken_is_named(folder: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"INTERLOCK_SUPABASE_PORT: port {port} is taken"):
            async with running(folder, project=PROJECT, port=port):
                pass


async def test_a_migration_that_needs_a_superuser_fails_as_on_a_hosted_project(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "migrations").mkdir()
    wrong = "create table public.half (id int);\nalter role postgres superuser;\n"
    (tmp_path / "migrations" / "20260101000000_wrong.sql").write_text(wrong)
    with pytest.raises(Misconfigured, match=r"20260101000000_wrong.sql: line 2: ERROR: .*must be superuser"):
        async with running(folder, project=tmp_path):
            pass
    (tmp_path / "migrations" / "20260101000000_wrong.sql").write_text("create table public.half (id int);")
    async with running(folder, project=tmp_path) as stack:
        client = await acreate_client(stack.url, stack.service_key)
        assert (await client.table("half").select("*").execute()).data == []


def test_keys_are_its_owners_alone_and_in_no_repr(tmp_path: Path) -> None:
    made = Secrets.of(tmp_path)
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    assert made.jwt_secret not in repr(made)
    assert Secrets.of(tmp_path) == made
    (tmp_path / "other").mkdir()
    assert Secrets.of(tmp_path / "other").jwt_secret != made.jwt_secret


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_nothing_is_left_when_the_parent_ends(folder: Path, how: signal.Signals) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from interlock.devstack import running\n"
        "async def main():\n"
        "    async with running(Path(sys.argv[1]), project=Path(sys.argv[2])):\n"
        "        print('up', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen(  # noqa: ASYNC220  # its own process group is what the test is about
        [sys.executable, "-c", program, str(folder), str(PROJECT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert await asyncio.to_thread(parent.stdout.readline) == b"up\n"
    started = descendants(parent.pid)
    assert {"postgres", "postgrest", "deno", "node"} <= {Path(process.exe()).name for process in started}
    os.killpg(parent.pid, how)
    parent.wait()
    parent.stdout.close()
    _, alive = await asyncio.to_thread(psutil.wait_procs, started, 30)
    assert alive == []


def test_the_lock_file_names_every_package_and_no_registry() -> None:
    lock = json.loads((DEVSTACK / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert len(packages) > 20
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if "integrity" not in package and not package.get("link")] == []
    wanted = json.loads((DEVSTACK / "package.json").read_text())["dependencies"]
    assert all(version[0].isdigit() for version in wanted.values()), "each version is pinned"
