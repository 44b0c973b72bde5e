"""Import into SQLite through the service: customers a second, and the memory that a million rows take."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import anyio

from bench.data import services, write_csv
from bench.measure import Result, emit, median, rounded
from interlock.backends.sql import SqlBackend, migrate
from interlock.entities import ENTITIES
from interlock.services.transfer import import_rows

ROWS = 20_000
RUNS = 5
MILLION = int(os.environ.get("BENCH_MILLION", "1000000"))


async def into_sqlite(file: Path, database: Path) -> tuple[int, float, float]:
    """Rows created, seconds taken, and seconds of CPU."""
    url = f"sqlite+aiosqlite:///{database}"
    await migrate(url)
    backend = SqlBackend(url, ENTITIES)
    await backend.open()
    try:
        started, used = time.perf_counter(), time.process_time()
        report = await import_rows(services(backend).customers, file)
        assert report.failed == report.skipped == 0, report
        return report.created, time.perf_counter() - started, time.process_time() - used
    finally:
        await backend.aclose()


async def run() -> Mapping[str, Result]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_csv(folder / "rows.csv", ROWS)
        rates, costs = [], []
        for number in range(RUNS):
            created, seconds, cpu = await into_sqlite(folder / "rows.csv", folder / f"{number}.db")
            assert created == ROWS
            rates.append(created / seconds)
            costs.append(cpu / created * 1e6)
        write_csv(folder / "million.csv", MILLION)
        child = await anyio.run_process(
            [sys.executable, "-m", "bench.import_rate", str(folder / "million.csv"), str(folder / "million.db")],
            stderr=None,
        )
        created_text, seconds_text, peak = child.stdout.split()
    assert int(created_text) == MILLION
    return {
        "import_rate": median(
            rates,
            "customers/s",
            bar=">=5000",
            peer=f"{ROWS} rows of CSV into SQLite, audit trail included",
            parts={"CPU per customer, µs": rounded(sorted(costs)[RUNS // 2])},
        ),
        "import_million_memory": Result(
            rounded(float(peak)),
            "MB",
            "<=300",
            f"{MILLION} rows of CSV into SQLite in one process, peak resident memory",
            note=f"{float(seconds_text):.0f} s, {MILLION / float(seconds_text):.0f} customers/s",
        ),
    }


def peak_megabytes() -> float:
    """The most memory that this process has had. `ru_maxrss` would count the parent's at the fork too."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def million() -> None:
    created, seconds, _ = await into_sqlite(Path(sys.argv[1]), Path(sys.argv[2]))
    print(created, seconds, peak_megabytes())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        import asyncio

        asyncio.run(million())
    else:
        emit(run)
