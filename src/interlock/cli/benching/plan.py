"""What a bench is to measure, read from the command line and checked whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from interlock.errors import Invalid, Misconfigured
from interlock.settings import BACKENDS, Settings
from interlock.validation import suggest

__all__ = ["MOST_CALLS", "RESOURCES", "VERBS", "Plan", "elsewhere", "plan_of"]

RESOURCES: Final[Mapping[str, str]] = MappingProxyType(
    {"customers": "customers", "sales": "deals", "tickets": "tickets", "contracts": "contracts"}
)
"""The services that can be measured, each with the resource that is worked on."""

VERBS: Final = ("get", "find", "search", "aggregate", "create", "update", "delete", "restore")
USUAL: Final = VERBS[:-1]

MOST_CALLS: Final = 50_000
"""Calls of one verb on one backend, at most: every latency is kept, so that the percentiles are exact."""

MOST_AT_ONCE: Final = 1_000
MOST_RECORDS: Final = 100_000

PICTURES: Final = (".svg", ".png", ".html")
FILES: Final = (*PICTURES, ".json")

_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1", ""})


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One bench. `calls` counts for each verb, backend and number at once; without it each of them takes `seconds` seconds."""

    backends: tuple[str, ...]
    service: str = "customers"
    verbs: tuple[str, ...] = USUAL
    concurrency: tuple[int, ...] = (1, 10)
    calls: int | None = None
    seconds: float = 1.0
    rounds: int = 5
    records: int = 500
    seed: int = 1
    bare: bool = False
    out: Path | None = None

    @property
    def resource(self) -> str:
        """What is worked on."""
        return RESOURCES[self.service]

    def rounds_of(self, at_once: int) -> int:
        """How many turns a backend gets, so that every turn has enough calls to keep so many in flight."""
        return self.rounds if self.calls is None else max(1, min(self.rounds, self.calls // (2 * at_once)))


def plan_of(
    settings: Settings,
    *,
    backends: Sequence[str] = (),
    service: str = "customers",
    verbs: str | None = None,
    concurrency: str = "1,10",
    calls: int | None = None,
    seconds: float | None = None,
    records: int = 500,
    bare: bool = False,
    out: Path | None = None,
) -> Plan:
    """The plan that the words of the command line make. Raises `Invalid` with every bad one, `Misconfigured` for a missing package."""
    problems: dict[str, str] = {}
    if service not in RESOURCES:
        problems["service"] = f"{service!r} cannot be measured{suggest(service, RESOURCES)}; choose {_or(RESOURCES)}"
    for name in backends:
        if name not in BACKENDS:
            problems["backend"] = f"{name!r} does not exist{suggest(name, BACKENDS)}; choose {_or(BACKENDS)}"
    chosen = USUAL if verbs is None else tuple(dict.fromkeys(_words(verbs)))
    unknown = [verb for verb in chosen if verb not in VERBS]
    if unknown or not chosen:
        wrong = f"{unknown[0]!r} is no verb{suggest(unknown[0], VERBS)}" if unknown else "names none"
        problems["verbs"] = f"{wrong}; choose {_or(VERBS)}, with commas"
    at_once = tuple(dict.fromkeys(_words(concurrency)))
    if not at_once or any(not word.isdecimal() or not 1 <= int(word) <= MOST_AT_ONCE for word in at_once):
        problems["concurrency"] = f"give numbers from 1 to {MOST_AT_ONCE}, with commas, such as 1,10"
    if calls is not None and seconds is not None:
        problems["calls"] = "and seconds exclude each other; give one of them"
    if calls is not None and not 1 <= calls <= MOST_CALLS:
        problems["calls"] = f"give 1 to {MOST_CALLS}"
    if seconds is not None and not 0 < seconds <= 3_600:
        problems["seconds"] = "give seconds above 0, at most 3600"
    if not 1 <= records <= MOST_RECORDS:
        problems["records"] = f"give 1 to {MOST_RECORDS}"
    problems |= _bad_file(out)
    if problems:
        raise Invalid(problems)
    if out is not None and out.suffix in PICTURES and find_spec("matplotlib") is None:
        raise _missing("matplotlib", f"--out {out.name}", "bench")
    if "sql" in backends and find_spec("sqlalchemy") is None:
        raise _missing("sqlalchemy", "'sql'", "sql")
    for name in backends:
        settings.model_copy(update={"api_mode": name, "backends": {}}).check()
    return Plan(
        backends=tuple(dict.fromkeys(backends)) or configured(settings, service),
        service=service,
        verbs=chosen,
        concurrency=tuple(int(word) for word in at_once),
        calls=calls,
        seconds=1.0 if seconds is None else seconds,
        records=records,
        seed=settings.seed,
        bare=bare,
        out=out,
    )


def configured(settings: Settings, service: str) -> tuple[str, ...]:
    """The backends that these settings have, first the one that the service is on."""
    here = {
        "mock": True,
        "sql": settings.database_url is not None or find_spec("sqlalchemy") is not None,
        "real": settings.api_base_url is not None,
        "supabase": settings.supabase_url is not None and settings.supabase_anon_key is not None,
    }
    return tuple(dict.fromkeys((settings.backend_of(service), *(name for name, there in here.items() if there))))


def elsewhere(settings: Settings, backend: str) -> str:
    """Where a backend is that is not on this machine; empty for one that is."""
    address: Any = {"real": settings.api_base_url, "supabase": settings.supabase_url}.get(backend)
    if backend == "sql" and settings.database_url is not None:
        address = settings.sql_url
    if address is None or str(address).startswith("sqlite"):
        return ""
    host = urlsplit(str(address)).hostname or ""
    return "" if host in _HERE else host


def _missing(package: str, asked: str, extra: str) -> Misconfigured:
    return Misconfigured([f"{package}: is not installed, and {asked} was asked for; pip install 'interlock[{extra}]'"])


def _bad_file(out: Path | None) -> dict[str, str]:
    if out is None:
        return {}
    if out.suffix not in FILES:
        return {"out": f"{out.name!r} says no format; end it with {_or(FILES)}"}
    if not out.absolute().parent.is_dir():
        return {"out": f"the folder {str(out.parent)!r} is not there; make it"}
    return {}


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _or(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"
