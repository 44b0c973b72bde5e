"""The settings: the guide's own file, every wrong value, who wins, and what stays secret."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values
from tests.guide import MIX, guide_file

from interlock.errors import Misconfigured
from interlock.settings import GUIDE, SERVICES, LocalSupabase, Settings
from interlock.settings.guide import GUIDE_BACKENDS
from interlock.settings.limits import LIMITS


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems(**env: str) -> tuple[str, ...]:
    with pytest.raises(Misconfigured) as caught:
        Settings.load(env=env)
    return caught.value.problems


def test_the_guides_own_file_works_as_it_stands(scratch: Path) -> None:
    shutil.copy(guide_file("guide.env"), scratch / ".env")
    settings = Settings.load(env={}, embedded=True)
    assert {name: settings.backend_of(name) for name in SERVICES} == MIX
    assert settings.api_mode == "mock"
    assert settings.environment == "development"
    assert settings.api_base_url == "http://127.0.0.1:5137/api/v1", "the one that `up` brings"
    assert settings.api_timeout == 30
    assert settings.placeholders == ("VITE_SUPABASE_URL", "VITE_SUPABASE_ANON_KEY", "VITE_SUPABASE_SERVICE_KEY")
    assert settings.needs_local_supabase
    assert (settings.supabase_realtime, settings.supabase_offline, settings.supabase_sync_interval) == (True, True, 5)
    assert settings.supabase_auth_method == "jwt"
    assert (settings.cache, settings.cache_ttl, settings.dedup, settings.batch) == (True, 300, True, True)
    assert (settings.log_calls, settings.metrics, settings.error_tracking, settings.debug) == (True, True, True, False)


def test_every_variable_of_the_guides_file_is_known() -> None:
    named = dotenv_values(guide_file("guide.env"), interpolate=False)
    backends = {f"VITE_{name.upper()}_BACKEND" for name in GUIDE_BACKENDS} | {
        f"VITE_{name.upper().removesuffix('S')}_BACKEND" for name in GUIDE_BACKENDS
    }
    assert named.keys() <= {*GUIDE, *backends}
    assert GUIDE.keys() <= named.keys()


def test_what_the_guides_file_leaves_out_has_the_guides_defaults(scratch: Path) -> None:
    settings = Settings.load(
        env={
            "VITE_TICKET_BACKEND": "Auto",
            "VITE_API_MODE": "sql",
            "VITE_SUPABASE_URL": "https://a.b",
            "VITE_SUPABASE_ANON_KEY": "key",
        },
        embedded=True,
    )
    assert {name: settings.backend_of(name) for name in SERVICES} == MIX | {"auth": "sql", "tickets": "sql"}
    assert (settings.cache, settings.dedup, settings.batch) == (True, True, True)
    assert (settings.log_calls, settings.metrics, settings.error_tracking, settings.debug) == (True, True, True, False)
    by_mode = Settings.load(env={"VITE_API_MODE": "mock", "VITE_ENABLE_SERVICE_CACHE": "false"})
    assert {by_mode.backend_of(name) for name in SERVICES} == {"mock"}, "the mode alone moves everything"
    assert (by_mode.cache, by_mode.dedup) == (False, True)
    ours = Settings.load(env={"INTERLOCK_API_MODE": "mock"})
    assert (ours.cache, ours.dedup, ours.log_calls) == (False, False, False)


@pytest.mark.parametrize("auto", ["auto", "AUTO", " Auto "])
def test_a_service_on_auto_follows_the_mode(scratch: Path, auto: str) -> None:
    (scratch / ".env").write_text("VITE_API_MODE=sql\nVITE_CUSTOMER_BACKEND=mock\n")
    (scratch / "interlock.toml").write_text(f'[backends]\ncustomers = "{auto}"\n')
    assert Settings.load(env={}).backend_of("customers") == "sql"
    assert Settings.load(env={"INTERLOCK_CUSTOMERS_BACKEND": "mock"}).backend_of("customers") == "mock"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("VITE_API_MODE", "reel", "VITE_API_MODE: 'reel' is not one of the choices; choose mock, real, sql or supabase"),
        ("VITE_USE_MOCK_API", "si", "VITE_USE_MOCK_API: 'si' is not one of the choices; write true or false"),
        ("VITE_API_BASE_URL", "localhost", "VITE_API_BASE_URL: 'localhost' is not a web address; write an address"),
        ("VITE_API_ENVIRONMENT", "prod", "VITE_API_ENVIRONMENT: 'prod' is not one of the choices; choose development,"),
        ("VITE_API_TIMEOUT", "30s", "VITE_API_TIMEOUT: '30s' is not a number; give milliseconds above 0"),
        ("VITE_API_TIMEOUT", "0", "VITE_API_TIMEOUT: '0' is too small; give milliseconds above 0"),
        ("VITE_API_TIMEOUT", "nan", "VITE_API_TIMEOUT: 'nan' is not a number; give milliseconds above 0"),
        ("VITE_SUPABASE_URL", "ftp://x", "VITE_SUPABASE_URL: 'ftp://x' is not a web address"),
        ("VITE_SUPABASE_ENABLE_REALTIME", "2", "VITE_SUPABASE_ENABLE_REALTIME: '2' is neither true nor false; write true"),
        ("VITE_SUPABASE_ENABLE_OFFLINE", "-", "VITE_SUPABASE_ENABLE_OFFLINE: '-' is neither true nor false"),
        ("VITE_SUPABASE_SYNC_INTERVAL", "-1", "VITE_SUPABASE_SYNC_INTERVAL: '-1' is too small; give milliseconds"),
        ("VITE_SUPABASE_AUTH_METHOD", "post", "VITE_SUPABASE_AUTH_METHOD: 'post' is not one of the choices"),
        ("VITE_ENABLE_SERVICE_CACHE", "x", "VITE_ENABLE_SERVICE_CACHE: 'x' is neither true nor false"),
        ("VITE_CACHE_TTL", "long", "VITE_CACHE_TTL: 'long' is not a number; give milliseconds above 0"),
        ("VITE_ENABLE_REQUEST_DEDUPLICATION", "x", "VITE_ENABLE_REQUEST_DEDUPLICATION: 'x' is neither true nor false"),
        ("VITE_ENABLE_BATCH_REQUESTS", "x", "VITE_ENABLE_BATCH_REQUESTS: 'x' is neither true nor false"),
        ("VITE_ENABLE_SERVICE_LOGGING", "x", "VITE_ENABLE_SERVICE_LOGGING: 'x' is neither true nor false"),
        ("VITE_ENABLE_PERFORMANCE_METRICS", "x", "VITE_ENABLE_PERFORMANCE_METRICS: 'x' is neither true nor false"),
        ("VITE_ENABLE_ERROR_TRACKING", "x", "VITE_ENABLE_ERROR_TRACKING: 'x' is neither true nor false"),
        ("VITE_DEBUG_SERVICE_FACTORY", "x", "VITE_DEBUG_SERVICE_FACTORY: 'x' is neither true nor false"),
        ("VITE_CUSTOMERS_BACKEND", "moc", "VITE_CUSTOMERS_BACKEND: 'moc' is no backend; did you mean 'mock'?; choose mock"),
        ("VITE_CUSTOMRS_BACKEND", "mock", "VITE_CUSTOMRS_BACKEND: there is no such service; did you mean 'VITE_CUSTOMERS_"),
        ("VITE_CUSTOMER_BACKEND", "moc", "VITE_CUSTOMER_BACKEND: 'moc' is no backend; did you mean 'mock'?; choose mock"),
        ("INTERLOCK_API_MODE", "x", "INTERLOCK_API_MODE: 'x' is not one of the choices; choose mock, real, sql or supabase"),
        ("INTERLOCK_PORT", "http", "INTERLOCK_PORT: 'http' is not a whole number; give a port from 1 to 65535"),
        ("INTERLOCK_API_PORT", "70000", "INTERLOCK_API_PORT: '70000' is too big; give a port from 1 to 65535"),
        ("INTERLOCK_API_BASE_URL", "http://h:99999", "INTERLOCK_API_BASE_URL: 'http://h:99999' Port out of range 0-65535"),
        ("INTERLOCK_RATE_LIMIT", "1.5", "INTERLOCK_RATE_LIMIT: '1.5' is not a whole number; give a whole number, 0 or more"),
        ("INTERLOCK_BODY_LIMIT", "1", "INTERLOCK_BODY_LIMIT: '1' is too small; give bytes from 1024"),
        ("INTERLOCK_MOCK_ERROR_RATE", "2", "INTERLOCK_MOCK_ERROR_RATE: '2' is too big; give a number from 0 to 1"),
        ("INTERLOCK_HTTP_ENGINE", "httpx", "INTERLOCK_HTTP_ENGINE: 'httpx' is not one of the choices; choose pyreqwest"),
        ("INTERLOCK_API_DIALECT", "odata", "INTERLOCK_API_DIALECT: 'odata' is not one of the choices; choose interlock,"),
        ("INTERLOCK_LOG_LEVEL", "loud", "INTERLOCK_LOG_LEVEL: 'loud' is not one of the choices; choose debug, info,"),
        ("INTERLOCK_PROT", "1", "INTERLOCK_PROT: there is no such setting; did you mean INTERLOCK_PORT?"),
        ("INTERLOCK_CUSTOMERZ_BACKEND", "mock", "INTERLOCK_CUSTOMERZ_BACKEND: there is no such setting; did you mean INTERLOCK_"),
        ("INTERLOCK_BACKENDS", "mock", "INTERLOCK_BACKENDS: there is no such setting"),
    ],
)  # fmt: skip
def test_each_wrong_value_has_a_message_of_its_own(variable: str, value: str, message: str) -> None:
    (problem,) = problems(**{variable: value})
    assert problem.startswith(message)


def test_all_problems_come_at_once() -> None:
    found = problems(
        INTERLOCK_PORT="x", VITE_CACHE_TTL="y", INTERLOCK_SALES_BACKEND="z", INTERLOCK_NOPE="1", INTERLOCK_AUDIT_BACKEND="real"
    )  # fmt: skip
    assert sorted(problem.partition(":")[0] for problem in found) == [
        "INTERLOCK_API_BASE_URL",
        "INTERLOCK_NOPE",
        "INTERLOCK_PORT",
        "INTERLOCK_SALES_BACKEND",
        "VITE_CACHE_TTL",
    ]


def test_values_come_in_any_case_and_empty_ones_are_absent() -> None:
    settings = Settings.load(
        env={
            "VITE_API_MODE": " SQL ",
            "VITE_ENABLE_SERVICE_CACHE": "True",
            "INTERLOCK_PORT": "",
            "VITE_SUPABASE_URL": " ",
        }
    )
    assert (settings.api_mode, settings.cache, settings.port, settings.supabase_url) == ("sql", True, 8000, None)


def test_who_wins(scratch: Path) -> None:
    (scratch / ".env").write_text(
        "VITE_API_MODE=real\nINTERLOCK_PORT=1001\nINTERLOCK_API_PORT=1002\nVITE_CACHE_TTL=1000\n"
    )
    (scratch / "interlock.toml").write_text(
        'api_mode = "sql"\nport = 2001\n[backends]\nsales = "mock"\naudit = "mock"\n'
    )
    env = {"VITE_CACHE_TTL": "2000", "INTERLOCK_API_PORT": "3002", "INTERLOCK_SALES_BACKEND": "sql"}
    settings = Settings.load(env=env)
    assert settings.api_mode == "sql", "interlock.toml wins over the guide's name"
    assert settings.port == 1001, ".env wins over interlock.toml"
    assert settings.api_port == 3002, "the environment wins over .env"
    assert settings.cache_ttl == 2, "and so it does among the guide's names"
    assert (settings.backend_of("sales"), settings.backend_of("audit")) == ("sql", "mock")


def test_the_mode_is_stronger_than_the_older_switch() -> None:
    env = {"VITE_USE_MOCK_API": "true", "VITE_API_MODE": "sql"}
    assert Settings.load(env=env).api_mode == "sql"
    assert Settings.load(env={"VITE_USE_MOCK_API": "TRUE"}).api_mode == "mock"
    assert Settings.load(env={"VITE_USE_MOCK_API": "false", "VITE_API_BASE_URL": "http://x"}).api_mode == "real"


def test_a_service_on_an_unconfigured_backend_is_a_problem() -> None:
    (problem,) = problems(INTERLOCK_FILES_BACKEND="real", INTERLOCK_AUDIT_BACKEND="real")
    assert problem == (
        "INTERLOCK_API_BASE_URL: is not set, and 'real' is the backend of files, audit; set it, or choose another backend"
    )
    found = problems(VITE_API_MODE="supabase")
    assert [problem.partition(":")[0] for problem in found] == ["INTERLOCK_SUPABASE_URL", "INTERLOCK_SUPABASE_ANON_KEY"]


def test_up_brings_the_real_api_along() -> None:
    settings = Settings.load(env={"VITE_API_MODE": "real", "INTERLOCK_API_PORT": "6001"}, embedded=True)
    assert settings.api_base_url == "http://127.0.0.1:6001/api/v1"


def test_up_brings_supabase_along_where_no_project_is_named() -> None:
    settings = Settings.load(env={"INTERLOCK_SALES_BACKEND": "supabase"}, embedded=True)
    assert settings.needs_local_supabase
    assert not Settings.load(env={}, embedded=True).needs_local_supabase
    with pytest.raises(Misconfigured, match="INTERLOCK_SUPABASE_URL: is not set"):
        settings.check()


def test_a_named_project_needs_its_key() -> None:
    env = {"INTERLOCK_API_MODE": "supabase", "INTERLOCK_SUPABASE_URL": "http://x"}
    for embedded in (False, True):
        with pytest.raises(Misconfigured, match="INTERLOCK_SUPABASE_ANON_KEY: is not set") as caught:
            Settings.load(env=env, embedded=embedded)
        assert len(caught.value.problems) == 1


def test_a_local_supabase_that_runs_is_found() -> None:
    local = LocalSupabase(os.getpid(), "http://127.0.0.1:54321", "anon", "service", "s" * 40)
    home = Path(".interlock")
    local.remember(home)
    assert stat.S_IMODE((home / "supabase.json").stat().st_mode) == 0o600
    settings = Settings.load(env={"INTERLOCK_API_MODE": "supabase"})
    assert settings.supabase_url == local.url
    assert settings.supabase_jwt_secret is not None
    assert settings.supabase_jwt_secret.get_secret_value() == "s" * 40
    assert "s" * 40 not in repr(settings) + repr(local)
    named = {"INTERLOCK_API_MODE": "supabase", "INTERLOCK_SUPABASE_URL": "http://x", "INTERLOCK_SUPABASE_ANON_KEY": "k"}
    assert Settings.load(env=named).supabase_url == "http://x"
    assert Settings.load(env=named).supabase_service_key is None
    local.forget(home)
    assert LocalSupabase.found(home) is None


def test_a_local_supabase_that_has_ended_is_not_found() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    LocalSupabase(process.pid, "http://127.0.0.1:1", "anon", "service", "s" * 40).remember(Path(".interlock"))
    assert Settings.load(env={}).supabase_url is None


def test_secrets_are_in_no_repr_and_no_message() -> None:
    secret = "hush-hush"
    settings = Settings.load(
        env={
            "VITE_SUPABASE_ANON_KEY": secret,
            "VITE_SUPABASE_SERVICE_KEY": secret,
            "INTERLOCK_DATABASE_URL": f"postgresql+asyncpg://me:{secret}@db/x",
        }
    )
    assert secret not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert secret in settings.sql_url
    for env in (
        {"INTERLOCK_DATABASE_URL": f"mysql://me:{secret}@db/x"},
        {"VITE_API_BASE_URL": f"http://me:{secret}@h"},
    ):
        assert secret not in "".join(problems(**env))


def test_files_that_cannot_be_read_are_problems(scratch: Path) -> None:
    (scratch / "interlock.toml").write_text("api_mode = \n")
    (scratch / ".env").write_bytes(b"VITE_API_MODE=\xff\n")
    found = problems()
    assert any(problem.startswith("interlock.toml: is not TOML") for problem in found)
    assert ".env: is not UTF-8; save it as UTF-8" in found
    with pytest.raises(Misconfigured, match=r"other\.toml: does not exist"):
        Settings.load(env={}, env_file=None, toml="other.toml")


def test_unknown_keys_in_the_file_are_problems(scratch: Path) -> None:
    (scratch / "interlock.toml").write_text('prot = 1\n[backends]\nsale = "mock"\nsales = 3\n')
    assert problems() == (
        "interlock.toml [backends] sale: there is no such service; did you mean 'sales'?",
        "interlock.toml [backends] sales: 3 is no backend; choose mock, real, sql, supabase or auto",
        "interlock.toml prot: there is no such setting; did you mean port?",
    )


def test_settings_made_by_hand_raise_the_same_error() -> None:
    with pytest.raises(Misconfigured) as caught:
        Settings(port=0, api_mode="fake", prot=1)
    assert caught.value.problems == (
        "INTERLOCK_API_MODE: 'fake' is not one of the choices; choose mock, real, sql or supabase",
        "INTERLOCK_PORT: 0 is too small; give a port from 1 to 65535",
        "INTERLOCK_PROT: there is no such setting; did you mean 'port'?",
    )


def test_settings_are_frozen() -> None:
    settings = Settings.load(env={"INTERLOCK_SALES_BACKEND": "sql"})
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1
    with pytest.raises(TypeError):
        settings.backends["sales"] = "mock"  # type: ignore[index]  # that it cannot be set is the point


def test_an_application_may_know_services_and_backends_of_its_own() -> None:
    env = {"INTERLOCK_PROJECTS_BACKEND": "mine"}
    settings = Settings.load(env=env, services=(*SERVICES, "projects"), backends=("mock", "mine"))
    assert settings.backend_of("projects") == "mine"


def test_a_backends_own_limit_is_stronger_than_the_limit_for_all(scratch: Path) -> None:
    (scratch / "interlock.toml").write_text("retries = 1\ndeadline = 20\n[limits.real]\ndeadline = 5\n")
    settings = Settings.load(env={"INTERLOCK_SUPABASE_DEADLINE": "7", "INTERLOCK_SQL_BREAKER": "off"})
    found = {name: settings.limits_of(name) for name in ("mock", "real", "sql", "supabase")}
    assert {name: limits.deadline for name, limits in found.items()} == {
        "mock": 20.0,
        "real": 5.0,
        "sql": 20.0,
        "supabase": 7.0,
    }
    assert {limits.retries for limits in found.values()} == {1}
    assert {name for name, limits in found.items() if limits.breaker} == {"real", "supabase"}
    assert {name for name, limits in found.items() if not limits.concurrency} == {"mock"}


def test_a_bad_limit_is_named_where_it_stands(scratch: Path) -> None:
    (scratch / "interlock.toml").write_text("[limits.real]\nretries = 11\nretrys = 1\n[limits.reel]\nretries = 1\n")
    with pytest.raises(Misconfigured) as caught:
        Settings.load(env={"INTERLOCK_SQL_DEADLINE": "soon", "INTERLOCK_SQL_DEADLIN": "1"})
    assert set(caught.value.problems) == {
        "INTERLOCK_SQL_DEADLIN: there is no such setting; did you mean INTERLOCK_SQL_DEADLINE?",
        "INTERLOCK_SQL_DEADLINE: 'soon' is not a number; give seconds above 0",
        "interlock.toml [limits.real] retries: 11 is too big; give a whole number from 0 to 10",
        "interlock.toml [limits.real] retrys: there is no such limit; did you mean 'retries'?",
        "interlock.toml [limits.reel] retries: there is no such backend; did you mean 'real'?",
    }
    with pytest.raises(Misconfigured, match="INTERLOCK_REAL_DEADLINE: -1 is too small"):
        Settings(limits={"real": {"deadline": -1}})


def test_demo_data_is_for_development_and_test_only() -> None:
    seeded = {name for name in ("development", "test", "staging", "production") if Settings(environment=name).seed_demo}
    assert seeded == {"development", "test"}


def test_every_setting_is_used_or_the_page_says_that_it_is_not() -> None:
    root = Path(__file__).resolve().parents[2]
    sources = [path for path in (root / "src").rglob("*.py") if "settings" not in path.parts]
    code = "".join(path.read_text("utf-8") for path in sources)
    page = (
        (root / "docs" / "configuration.md").read_text("utf-8").partition("<!-- end settings -->")[2].partition("##")[0]
    )
    used = {name for name in Settings.model_fields if f"settings.{name}" in code} | {
        "api_mode",
        "backends",
        "database_url",
        "limits",
        *LIMITS,
    }
    unused = {name for name in Settings.model_fields if f"`INTERLOCK_{name.upper()}`" in page}
    assert used | unused == set(Settings.model_fields)
    assert not used & unused, "used by now: take it off the page's list"
