"""The tests that read a clock, on memory, sql and supabase and in the product's own processes, at moments that are easily read wrong.

libfaketime moves the clock of each process by the same offset, so all of them agree. PostgREST alone, a binary without libraries, stays at the
real time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from soak.dates.moments import MOMENTS, ZONES, Moment

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
AHEAD: Final = (20.0, 40.0, 80.0)
"""Seconds before a moment that is crossed at which a run starts: its servers come up meanwhile. Where they came too late, the next is tried."""
LONGEST: Final = 300.0

PARTS: Final = {
    "product": ("soak/dates/product.py",),
    "services": (
        "-m", "clock",
        "tests/services", "tests/auth", "tests/control", "tests/memory", "tests/transfer", "tests/gateway",
    ),
    "values": (
        "-k", "times or server_owned or value_comes_back",
        "tests/conformance/test_memory.py", "tests/conformance/test_sql_sqlite.py", "tests/conformance/test_sql_postgres.py",
    ),
    "supabase": (
        "-m", "clock",
        "tests/supabase/services", "tests/supabase/auth", "tests/supabase/files", "tests/supabase/schema", "tests/supabase/realtime",
    ),
}  # fmt: skip
"""What each part runs."""


@dataclass
class Run:
    """A run of pytest under a moved clock."""

    part: str
    process: subprocess.Popen[bytes]
    told: Path
    log: Path

    def end(self) -> dict[str, Any]:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(LONGEST)
        self.stop()
        assert self.told.exists(), f"{self.part}: {self.log.read_text(errors='replace')[-3000:]}"
        told: dict[str, Any] = json.loads(self.told.read_text())
        return told

    def stop(self) -> None:
        """Interrupt what still runs, so that it stops its servers."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture(scope="session")
def library(missing: Callable[[str], None]) -> Path:
    """libfaketime."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        missing("libfaketime")
    return found[0]


def start(part: str, library: Path, at: datetime, ahead: float, zone: str, backend: str, folder: Path) -> Run:
    """Start a part's tests so many seconds before the moment, to run while it passes; or at it, to run after it."""
    folder.mkdir(mode=0o711, exist_ok=True)
    begins = at.timestamp() - ahead
    told, log = folder / f"{part}.json", folder / f"{part}.log"
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FAKETIME": f"+{begins - time.time():.3f}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # else waiting with a bound ends at once
        "NO_FAKE_STAT": "1",  # else every compiled module looks stale
        "PYTHONPATH": os.pathsep.join((str(HERE / "awake"), *filter(None, [os.environ.get("PYTHONPATH")]))),
        "TZ": zone,
        "CI": "1",
        "TEST_WORLDS": "memory sqlite postgres",
        "CLOCK_MOMENT": str(at.timestamp()),
        "CLOCK_TOLD": str(told),
        "CLOCK_BACKEND": backend,
        **({"CLOCK_CROSSED": "1"} if ahead and part != "product" else {}),
    }
    # With a folder of its own, it clears away no other run's, all of which look old to it.
    options = ["-q", "-p", "soak.dates.told", "-p", "no:cacheprovider", "-p", "no:randomly", "--basetemp"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, str(folder / part), *PARTS[part]],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return Run(part, process, told, log)


def sweep() -> None:
    """Remove what libfaketime leaves of processes that were killed; a later one with the same id would stumble over it."""
    for pattern in ("sem.faketime_sem_*", "faketime_shm_*"):
        for left in Path("/dev/shm").glob(pattern):  # noqa: S108 - where libfaketime puts it
            if not Path(f"/proc/{left.name.rsplit('_', 1)[1]}").exists():
                with suppress(OSError):
                    left.unlink()


def crossed(part: str, when: dict[str, int]) -> bool:
    """Whether the moment came while the part's tests ran: during the product's one test, between the others'."""
    return bool(when.get("across")) if part == "product" else bool(when.get("before") and when.get("after"))


@pytest.fixture(scope="session")
def ahead() -> list[float]:
    """What is left to try of AHEAD on a machine as busy as this one."""
    return list(AHEAD)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.name)
def test_a_moment(
    moment: Moment, zone: str, library: Path, tmp_path: Path, ahead: list[float], figures: dict[str, int]
) -> None:
    tmp_path.chmod(0o711)
    now = datetime.now(UTC)
    at = moment.of(now, zone)
    assert at > now
    # Supabase takes longest. By turns the services are tested on it or the product is, so each zone meets both at three moments.
    product = (MOMENTS.index(moment) + ZONES.index(zone)) % 2 == 0
    backend, left_out = ("supabase", "supabase") if product else ("sql", "values")
    parts = [part for part in PARTS if part != left_out]
    while True:
        before = ahead[0] if moment.crossed else 0.0
        folder = tmp_path / f"{before:.0f}"
        runs = [start(part, library, at, before, zone, backend, folder) for part in parts]
        try:
            told = {run.part: run.end() for run in runs}
        finally:
            for run in runs:
                run.stop()
            sweep()
        count(told, moment, figures)
        failures = {f"{part}: {name}": why for part, said in told.items() for name, why in said["failures"].items()}
        assert not failures, "\n\n".join(f"{name}\n{why}" for name, why in failures.items())
        assert all(set(said["outcomes"]) == {"passed"} for said in told.values()), told
        if not moment.crossed:
            assert all(set(said["when"]) == {"after"} for said in told.values()), told
            return
        if all(crossed(part, said["when"]) for part, said in told.items()):
            return
        assert len(ahead) > 1, f"the moment came before the tests did: {told}"
        del ahead[0]


def count(told: dict[str, dict[str, Any]], moment: Moment, figures: dict[str, int]) -> None:
    """Add the figures of the runs."""
    for part, said in told.items():
        tests = sum(said["outcomes"].values())
        found = {"runs": 1, "tests": tests, f"tests of {part}": tests, "failures": len(said["failures"])}
        if moment.crossed:
            found["moments that tests were running at"] = int(crossed(part, said["when"]))
            found["tests before a moment that was crossed"] = said["when"].get("before", 0)
            found["tests while it passed"] = said["when"].get("across", 0)
        for name, number in found.items():
            figures[name] = figures.get(name, 0) + number
