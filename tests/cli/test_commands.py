"""Every command, beside a product that runs and without one: what it prints, and its exit code."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from tests.patience import PATIENCE
from tests.running import Product, command, started

import interlock

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "examples" / "data" / "companies.csv"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with started(tmp_path_factory.mktemp("cli")) as running:
        yield running


def test_status_names_every_service(product: Product) -> None:
    rows = product.json("status")
    assert [row["service"] for row in rows][:3] == ["auth", "customers", "sales"]
    assert {"backend", "epoch", "stage", "health", "latency"} <= rows[0].keys()
    assert "customers" in product.run("status").stdout


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    assert command(tmp_path, "--version").stdout == f"interlock {metadata.version('interlock')}\n"
    assert interlock.__version__ == metadata.version("interlock")


def test_json_may_stand_anywhere(product: Product) -> None:
    assert json.loads(product.run("status", "--json").stdout)


def test_switch_there_and_back(product: Product) -> None:
    first = product.json("switch", "tickets", "real")
    second = product.json("switch", "tickets", "mock")
    assert (first["old"], first["backend"], second["backend"]) == ("mock", "real", "mock")
    assert second["epoch"] > first["epoch"]


def test_switch_all_there_and_back(product: Product) -> None:
    before = {row["service"]: row["backend"] for row in product.json("status")}
    assert set(before.values()) == {"mock"}
    moved = product.json("switch", "all", "sql")
    assert {each["service"]: (each["old"], each["backend"]) for each in moved} == dict.fromkeys(before, ("mock", "sql"))
    assert len({each["epoch"] for each in moved}) == 1
    assert "every service is on sql already" in product.run("switch", "all", "sql").stdout
    assert product.run("switch", "all", "sqll").returncode == 2
    back = product.run("switch", "all", "mock")
    assert sorted(line.partition(":")[0] for line in back.stdout.splitlines()) == sorted(before)


@pytest.mark.parametrize(("service", "backend", "word"), [("tickts", "sql", "tickets"), ("tickets", "sqll", "sql")])
def test_switch_refuses_what_does_not_exist(product: Product, service: str, backend: str, word: str) -> None:
    done = product.run("switch", service, backend)
    assert done.returncode == 2
    assert word in done.stderr


def test_switch_needs_a_running_product(tmp_path: Path) -> None:
    done = command(tmp_path, "switch", "customers", "sql")
    assert done.returncode == 3
    assert "start it with interlock up, or set INTERLOCK_CUSTOMERS_BACKEND" in done.stderr


def test_call_reads_and_writes(product: Product) -> None:
    made = product.json("call", "customers.create", "company_name=Zyklus GmbH", "tags=nord,süd", "size=small")
    assert (made["companyName"], made["tags"], made["version"]) == ("Zyklus GmbH", ["nord", "süd"], 1)
    page = product.json("call", "customers.list", "company_name__startswith=Zyk", "count=exact")
    assert (page["total"], page["items"][0]["id"]) == (1, made["id"])
    patched = product.json("call", "customers.update", made["id"], "size=", "expected_version=1")
    assert (patched["version"], patched.get("size")) == (2, None)
    product.json("call", "customers.bulk_delete", f'ids:=["{made["id"]}"]')
    done = product.run("call", "customers.get", made["id"])
    assert done.returncode == 5
    assert product.run("call", "customers.update", made["id"], "status=lead").returncode == 5


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["customers"], 2, "is not SERVICE.OPERATION"),
        (["custmers.list"], 2, "did you mean 'customers'?"),
        (["customers.lst"], 2, "did you mean 'list'?"),
        (["customers.list", "staus=active"], 2, "did you mean 'status'?"),
        (["customers.list", "status=busy"], 2, "choose one of lead, prospect, active, inactive"),
        (["customers.list", "limit=0"], 2, "give 1 to 1000"),
        (["customers.get"], 2, "missing a required argument: 'id'"),
        (["customers.get", "nobody"], 5, "no record 'nobody'"),
    ],
)
def test_a_bad_call_says_how_to_mend_it(product: Product, words: list[str], code: int, message: str) -> None:
    done = product.run("call", *words)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr


def test_a_role_may_be_too_small(product: Product) -> None:
    done = product.run("--json", "call", "customers.create", "company_name=No", "--as", "viewer@acme.test")
    assert done.returncode == 4
    assert json.loads(done.stderr)["error"]["code"] == "forbidden"


def test_a_duplicate_is_a_conflict(product: Product) -> None:
    words = ("call", "customers.create", "company_name=Twice", "email=twice@twice.example")
    assert product.run(*words).returncode == 0
    assert product.run(*words).returncode == 6


def test_import_reports_and_adds_nothing_twice(product: Product) -> None:
    dry = product.run("--json", "import", str(SAMPLE), "--dry-run")
    assert dry.returncode == 8
    assert (json.loads(dry.stdout)["created"], json.loads(dry.stdout)["failed"]) == (5, 1)
    first = json.loads(product.run("--json", "import", str(SAMPLE)).stdout)
    assert (first["created"], first["failed"], first["failures"][0]["field"]) == (5, 1, "email")
    second = json.loads(product.run("--json", "import", str(SAMPLE)).stdout)
    assert (second["created"], second["skipped"]) == (0, 5)
    assert product.run("import", "nowhere.csv").returncode == 2


def test_export_writes_a_file_whole(product: Product) -> None:
    target = product.folder / "out.csv"
    found = product.json("export", str(target), "--columns", "company_name,city", "--sort", "company_name")
    rows = list(csv.reader(target.open(encoding="utf-8-sig")))
    assert len(rows) == found["rows"] + 1
    assert not list(product.folder.glob(".*.part"))
    assert product.run("export", "out.doc").returncode == 2
    assert product.run("export", str(target), "--columns", "nope").returncode == 2
    assert len(list(csv.reader(target.open(encoding="utf-8-sig")))) == len(rows), "a refused export leaves the old file"


def test_token_is_one_that_the_gateway_takes(product: Product) -> None:
    import urllib.request

    token = product.run("token", "viewer@acme.test").stdout.strip()
    request = urllib.request.Request(
        f"{product.ready['gateway']}/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
        assert reply.status == 200
    assert product.json("token")["accessToken"].count(".") == 2


def test_doctor_finds_nothing_beside_a_healthy_product(product: Product) -> None:
    findings = product.json("doctor")
    assert all(finding["good"] for finding in findings)


def test_doctor_says_what_to_mend(tmp_path: Path) -> None:
    done = command(tmp_path, "--json", "doctor", env={"INTERLOCK_PORT": "x", "INTERLOCK_API_MODE": "y"})
    assert done.returncode == 2
    wrong = [finding for finding in json.loads(done.stdout) if not finding["good"]]
    assert sorted(finding["mend"] for finding in wrong) == [
        "choose mock, real, sql or supabase",
        "give a port from 1 to 65535",
    ]
    dead = command(
        tmp_path, "doctor", env={"INTERLOCK_API_MODE": "real", "INTERLOCK_API_BASE_URL": "http://127.0.0.1:9"}
    )
    assert dead.returncode == 1
    assert "interlock up" in dead.stdout


def test_the_library_serves_where_nothing_runs(tmp_path: Path) -> None:
    done = command(tmp_path, "--json", "call", "customers.list", "limit=2")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["items"]) == 2
    env = {"INTERLOCK_API_MODE": "sql"}
    assert command(tmp_path, "seed", "--size", "4", env=env).returncode == 0
    kept = command(tmp_path, "--json", "call", "customers.create", "company_name=Kept", env=env)
    again = command(tmp_path, "--json", "call", "customers.list", "company_name=Kept", env=env)
    assert json.loads(again.stdout)["items"][0]["id"] == json.loads(kept.stdout)["id"]


def test_demo_users_are_made_nowhere_else(tmp_path: Path) -> None:
    own = {"INTERLOCK_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/own.db"}
    assert command(tmp_path, "seed", env=own).returncode == 2
    assert command(tmp_path, "seed", env={"INTERLOCK_ENVIRONMENT": "production"}).returncode == 2
    assert not list(tmp_path.glob("*.db"))


def test_migrate_makes_the_tables(tmp_path: Path) -> None:
    assert json.loads(command(tmp_path, "--json", "migrate").stdout) == {"migrated": True}
    assert (tmp_path / ".interlock" / "interlock.db").exists()


def test_completion_knows_the_services() -> None:
    done = command(
        ROOT,
        env={"_INTERLOCK_COMPLETE": "complete_bash", "COMP_WORDS": "interlock switch cust", "COMP_CWORD": "2"},
    )
    assert done.stdout.split() == ["customers"]


def test_a_wrong_option_is_a_usage_error(tmp_path: Path) -> None:
    assert command(tmp_path, "status", "--nope").returncode == 2
    assert command(tmp_path, "nope").returncode == 2
