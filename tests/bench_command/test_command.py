"""The command itself: its words, its exit codes, what it asks, and how it ends."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.patience import PATIENCE
from tests.running import command

from interlock.cli.benching import plan as planning
from interlock.cli.benching import plan_of
from interlock.cli.benching.command import allow
from interlock.cli.benching.report import Report
from interlock.cli.output import Output
from interlock.errors import Invalid, Misconfigured
from interlock.settings import Settings

QUICK = ("--calls", "20", "--concurrency", "1", "--records", "20")


def test_json_holds_every_figure(tmp_path: Path) -> None:
    done = command(tmp_path, "--json", "bench", "mock", "sql", "--verbs", "get,create", *QUICK, "--out", "b.json")
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout, type=Report)
    assert [(each.name, each.verb, each.at_once, each.calls) for each in report.results] == [
        ("mock", "get", 1, 20),
        ("sql", "get", 1, 20),
        ("mock", "create", 1, 20),
        ("sql", "create", 1, 20),
    ]
    assert set(json.loads(done.stdout)["results"][0]) == {
        *(
            "name",
            "verb",
            "atOnce",
            "calls",
            "rounds",
            "errors",
            "cachedShare",
            "p50Relative",
            "callsPerSecondRelative",
        ),
        *("p50Ms", "p95Ms", "p99Ms", "highestMs", "callsPerSecond", "callsPerSecondLowest", "callsPerSecondHighest"),
    }
    assert msgspec.json.decode((tmp_path / "b.json").read_bytes(), type=Report) == report
    assert done.stderr == ""


def test_the_table_names_every_verb_and_backend(tmp_path: Path) -> None:
    done = command(tmp_path, "bench", "mock", "--bare", *QUICK)
    assert done.returncode == 0, done.stderr
    for word in ("get", "find", "search", "aggregate", "create", "update", "delete", "mock bare", "p99 ms", "calls/s"):
        assert word in done.stdout
    assert "deleted" in done.stderr


def test_all_configured_backends_are_the_default(tmp_path: Path) -> None:
    def chosen(**settings: Any) -> tuple[str, ...]:
        return plan_of(Settings(home=tmp_path, **settings)).backends

    assert chosen() == ("mock", "sql")
    assert chosen(api_mode="sql") == ("sql", "mock"), "first the one that the service is on"
    assert chosen(api_base_url="http://127.0.0.1:1/v1", backends={"customers": "real"}) == ("real", "mock", "sql")
    supabase = {"supabase_url": "https://x.supabase.co", "supabase_anon_key": "k"}
    assert chosen(**supabase) == ("mock", "sql", "supabase")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sqll"], "did you mean 'sql'?"),
        (["--service", "users"], "choose customers, sales, tickets or contracts"),
        (["--service", "sale"], "did you mean 'sales'?"),
        (["--verbs", "get,fnd"], "did you mean 'find'?"),
        (["--verbs", ","], "verbs: names none"),
        (["--concurrency", "1,x"], "numbers from 1 to 1000"),
        (["--concurrency", "0"], "numbers from 1 to 1000"),
        (["--calls", "0"], "give 1 to 50000"),
        (["--calls", "5", "--seconds", "1"], "exclude each other"),
        (["--seconds", "0"], "above 0"),
        (["--records", "0"], "give 1 to 100000"),
        (["--out", "bench.pdf"], "end it with .svg, .png, .html or .json"),
        (["--out", "nowhere/bench.svg"], "the folder 'nowhere' is not there"),
        (["real"], "INTERLOCK_API_BASE_URL: is not set"),
        (["supabase"], "INTERLOCK_SUPABASE_URL: is not set"),
    ],
)
def test_a_bad_word_says_how_to_mend_it(tmp_path: Path, words: list[str], message: str) -> None:
    done = command(tmp_path, "bench", *words)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert not list(tmp_path.glob("**/*.db"))


def test_all_bad_words_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        plan_of(Settings(home=tmp_path), service="x", verbs="y", concurrency="z", calls=-1)
    assert set(caught.value.fields) == {"service", "verbs", "concurrency", "calls"}


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "find_spec", lambda name: None)
    settings = Settings(home=tmp_path)
    with pytest.raises(Misconfigured, match=r"matplotlib: is not installed.*interlock\[bench\]"):
        plan_of(settings, out=tmp_path / "a.svg")
    with pytest.raises(Misconfigured, match=r"sqlalchemy: is not installed.*interlock\[sql\]"):
        plan_of(settings, backends=("sql",))
    assert plan_of(settings, out=tmp_path / "a.json").backends == ("mock",), "what is not installed is not chosen"


def test_the_base_install_needs_no_matplotlib() -> None:
    code = "import sys, interlock.cli.benching.command as _; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_production_is_asked_about(tmp_path: Path) -> None:
    production = {"INTERLOCK_ENVIRONMENT": "production"}
    refused = command(tmp_path, "--json", "bench", "sql", *QUICK, env=production)
    assert refused.returncode == 2
    assert json.loads(refused.stderr)["error"]["fields"]["yes"].startswith("is needed, since this is production")
    assert not list(tmp_path.glob("**/*.db")), "nothing was opened"
    agreed = command(tmp_path, "--json", "bench", "sql", "--verbs", "create", *QUICK, "--yes", env=production)
    assert agreed.returncode == 0, agreed.stderr
    mock = command(tmp_path, "--json", "bench", "mock", "--verbs", "create", *QUICK, env=production)
    assert mock.returncode == 0, "nobody's records are in a mock of this command"


@pytest.mark.parametrize(
    ("backend", "settings", "far"),
    [
        ("real", {"api_base_url": "http://127.0.0.1:5137/api/v1"}, ""),
        ("real", {"api_base_url": "http://localhost:5137/api/v1"}, ""),
        ("real", {"api_base_url": "https://api.example.com/v1"}, "api.example.com"),
        ("sql", {}, ""),
        ("sql", {"database_url": "sqlite+aiosqlite:////tmp/own.db"}, ""),
        ("sql", {"database_url": "postgresql+asyncpg://u:p@127.0.0.1/db"}, ""),
        ("sql", {"database_url": "postgresql+asyncpg://u:secret@db.example.com/db"}, "db.example.com"),
        ("supabase", {"supabase_url": "https://x.supabase.co", "supabase_anon_key": "k"}, "x.supabase.co"),
    ],
)
def test_a_backend_on_another_machine_is_asked_about(
    tmp_path: Path, backend: str, settings: dict[str, Any], far: str
) -> None:
    given = Settings(home=tmp_path, **settings)
    plan = plan_of(given, backends=(backend,))
    if not far:
        allow(given, plan, Output(json=True), yes=False)
        return
    with pytest.raises(Invalid, match=f"{backend} is on {far}:") as caught:
        allow(given, plan, Output(json=True), yes=False)
    assert "secret" not in str(caught.value)
    allow(given, plan, Output(json=True), yes=True)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleaned_up_with_what_it_has(tmp_path: Path, sent: signal.Signals) -> None:
    words = ["--json", "bench", "sql", "--verbs", "get,create", "--seconds", "600", "--concurrency", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "interlock", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    database = tmp_path / ".interlock" / "interlock.db"
    try:
        until_rows(database, 750)
        process.send_signal(sent)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "")
    report = msgspec.json.decode(out, type=Report)
    assert report.interrupted
    assert not report.failed
    assert report.compared[0].records_deleted >= 700
    assert rows(database, "where deleted_at is null") == 0


def rows(database: Path, where: str = "") -> int:
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        (count,) = connection.execute(f"select count(*) from customers {where}").fetchone()  # noqa: S608  # ours
        return int(count)


def until_rows(database: Path, wanted: int) -> None:
    """Return once the bench has made so many records: the 700 that it works on, and some that it measures."""
    given_up = time.monotonic() + PATIENCE
    while time.monotonic() < given_up:
        try:
            if database.exists() and rows(database) >= wanted:
                return
        except sqlite3.OperationalError:
            pass  # the tables are not there yet
        time.sleep(0.02)
    pytest.fail(f"the bench made no {wanted} records")
