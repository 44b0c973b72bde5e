"""Looks at the configuration, the files, the ports and the backends, and says what to mend."""

from __future__ import annotations

import platform
import sys
from collections.abc import AsyncIterator, Callable
from importlib import metadata
from typing import Any, NamedTuple, cast

from interlock.abilities import Authenticates, Probes
from interlock.app import App
from interlock.cli.exits import Exit
from interlock.cli.output import Output
from interlock.cli.running import Running, running
from interlock.cli.serving import claim_port
from interlock.errors import InterlockError, Misconfigured
from interlock.settings import Settings

__all__ = ["Finding", "doctor"]

OPTIONAL = {
    "gateway": ("starlette", "granian"),
    "sql": ("sqlalchemy", "aiosqlite", "asyncpg", "alembic"),
    "transfer": ("openpyxl", "xlsxwriter"),
    "seed": ("faker",),
    "supabase": ("supabase",),
}

_MENDS = {
    "real": "look at INTERLOCK_API_BASE_URL",
    "sql": "run interlock migrate",
    "supabase": "look at INTERLOCK_SUPABASE_URL, and run supabase db push in its project; or interlock supabase start",
}


class Finding(NamedTuple):
    """One thing that was looked at. `mend` is empty where all is well."""

    what: str
    good: bool
    detail: str
    mend: str = ""


async def doctor(load: Callable[[], Settings], output: Output) -> Exit:
    """Look at everything. Answers `USAGE` where the configuration is wrong, `FAILED` where something else is."""
    findings: list[Finding] = [_python(), *_packages()]
    code = Exit.OK
    try:
        settings = load()
        settings.check()
    except Misconfigured as error:
        findings += [Finding("configuration", False, *problem.rsplit("; ", 1)) for problem in error.problems]
        code = Exit.USAGE
    else:
        findings.append(Finding("configuration", True, f"mode {settings.api_mode}, {settings.environment}"))
        findings += [finding async for finding in _surroundings(settings)]
    if code is Exit.OK and not all(finding.good for finding in findings):
        code = Exit.FAILED
    if output.json:
        output.data([finding._asdict() for finding in findings])
    else:
        output.table(
            ("", "", "found", "mend"),
            (("ok" if each.good else "WRONG", each.what, each.detail, each.mend) for each in findings),
            whole=True,
        )
    return code


async def _surroundings(settings: Settings) -> AsyncIterator[Finding]:
    yield _keys(settings)
    here = running(settings.home)
    if here is not None:
        yield Finding("product", True, f"process {here.pid} serves {here.gateway}")
    else:
        yield _port(settings, settings.port, "INTERLOCK_PORT")
        yield _port(settings, settings.api_port, "INTERLOCK_API_PORT")
    used = dict.fromkeys(map(settings.backend_of, ("customers", *settings.backends)))
    away = set()
    for backend in used:
        found = await _backend(settings, backend, here)
        if not found.good:
            away.add(backend)
        yield found
    for finding in await _services(settings, away):
        yield finding
    if "supabase" in used:
        yield await _supabase(settings)


def _python() -> Finding:
    version = platform.python_version()
    return Finding(
        "python", sys.version_info >= (3, 11), version, "" if sys.version_info >= (3, 11) else "use 3.11 or newer"
    )


def _packages() -> list[Finding]:
    findings = [Finding("interlock", True, metadata.version("interlock"))]
    for extra, packages in OPTIONAL.items():
        versions = {name: _version(name) for name in packages}
        lacking = [name for name, version in versions.items() if version is None]
        detail = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        if lacking:
            findings.append(Finding(extra, False, f"{', '.join(lacking)} missing", f"pip install 'interlock[{extra}]'"))
        else:
            findings.append(Finding(extra, True, detail))
    return findings


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _keys(settings: Settings) -> Finding:
    folder = settings.home / "keys"
    open_to_others = [
        path.name for path in sorted(folder.glob("*")) if path.stat().st_mode & 0o077 and "pub" not in path.name
    ]
    if open_to_others:
        return Finding("keys", False, f"{', '.join(open_to_others)} can be read by others", f"chmod 600 {folder}/*")
    return Finding("keys", True, "private" if folder.is_dir() else "made at the first start")


def _port(settings: Settings, port: int, variable: str) -> Finding:
    try:
        claim_port(settings.host, port, variable)
    except Misconfigured as error:
        detail, _, mend = error.problems[0].partition("; ")
        return Finding(f"port {port}", False, detail, mend)
    return Finding(f"port {port}", True, "free")


async def _backend(settings: Settings, backend: str, here: Running | None) -> Finding:
    what = f"backend {backend}"
    if (
        backend == "real"
        and here is None
        and settings.api_base_url is not None
        and "127.0.0.1" in settings.api_base_url
    ):
        mend = "start it: interlock up, or interlock serve --api"
    else:
        mend = _MENDS.get(backend, "")
    try:
        app = await App.open(settings.model_copy(update={"api_mode": backend, "backends": {}, "seed_size": 0}))
        try:
            found = app.router.route("customers").backend
            health = await found.probe() if isinstance(found, Probes) else None
        finally:
            await app.aclose()
    except InterlockError as error:
        return Finding(what, False, error.message, mend)
    if health is None:
        return Finding(what, True, "has no probe")
    detail = f"{health.latency * 1000:.1f} ms {health.version} {health.detail}".strip()
    return Finding(what, health.healthy, detail, "" if health.healthy else mend)


async def _services(settings: Settings, away: set[str]) -> list[Finding]:
    """What is wrong with each service where its backend answers: log-in, tables, rights."""
    try:
        app = await App.open(settings.model_copy(update={"seed_size": 0}))
        try:
            report = await app.validate_services()
            notes = [Finding(service, True, note) for service, note in app.notes().items()]
        finally:
            await app.aclose()
    except InterlockError as error:
        return [] if away else [Finding("services", False, error.message, "mend the configuration")]
    tried = [row for row in report.rows if row.backend not in away]
    wrong = [
        Finding(f"{row.service} on {row.backend}", False, f"{row.what}: {row.problem}", row.mend)
        for row in tried
        if not row.ok
    ]
    if wrong or not tried:
        return [*notes, *wrong]
    services = len({row.service for row in tried})
    return [*notes, Finding("services", True, f"{services} on their backends: log-in, files, a read of each resource")]


async def _supabase(settings: Settings) -> Finding:
    """How the project logs users in, and whether it will know those who logged in elsewhere."""
    what = "log-in at supabase"
    try:
        app = await App.open(settings.model_copy(update={"api_mode": "supabase", "backends": {}}))
        try:
            found: Any = await cast("Any", app.router.route("auth").ability(Authenticates)).settings()
        finally:
            await app.aclose()
    except InterlockError as error:
        return Finding(what, False, error.message, _MENDS["supabase"])
    if found.get("mailer_autoconfirm"):
        return Finding(
            what,
            False,
            "addresses are not confirmed: whoever signs up with an invited address is let in",
            "switch on Confirm email in the project's auth",
        )
    if settings.supabase_jwt_secret is None:
        detail = "without INTERLOCK_SUPABASE_JWT_SECRET, other log-ins are known where the project trusts our key"
        return Finding(what, True, detail)
    return Finding(what, True, "addresses are confirmed; other log-ins are known by the project's secret")
