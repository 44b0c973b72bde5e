"""Runs every bench in a process of its own, writes bench/results.json and docs/performance.md, and holds the bars.

`python -m bench [name ...]` runs some of them and keeps the other figures. Exits 1 when a bar fails; no number is changed for it.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.measure import Result, passes
from bench.report import performance_page

__all__ = ["BENCHES", "main"]

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
BENCHES = (
    "services_get",
    "layers",
    "batching",
    "gateway_list",
    "gateway_cached",
    "rest_client",
    "sql_list",
    "import_rate",
    "supabase_client",
    "supabase_stack",
)


def machine() -> str:
    """What the figures were taken on, without names."""
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"


def run_bench(name: str) -> dict[str, Result]:
    """The results of one bench; its errors go to the terminal."""
    done = subprocess.run([sys.executable, "-m", f"bench.{name}"], cwd=ROOT, stdout=subprocess.PIPE, check=False)  # noqa: S603 - our own module
    if done.returncode:
        raise SystemExit(f"bench {name} did not finish")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=dict[str, Result])


def main(wanted: tuple[str, ...]) -> int:
    unknown = set(wanted) - set(BENCHES)
    if unknown:
        raise SystemExit(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    results: dict[str, Result] = {}
    if RESULTS.exists():
        results = msgspec.json.decode(RESULTS.read_bytes(), type=dict[str, Result])
    if not wanted:
        results = {}
    failed = []
    for name in wanted or BENCHES:
        found = run_bench(name)
        results |= found
        for figure, result in found.items():
            good = passes(result)
            print(
                f"{'ok  ' if good else 'FAIL'} {figure:28} {result.value:>10g} {result.unit:12} bar {result.bar}  ({result.peer})",
                flush=True,
            )
            if not good:
                failed.append(figure)
    RESULTS.write_text(json.dumps(msgspec.to_builtins(results), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(performance_page(results, machine()), encoding="utf-8")
    if failed:
        print(f"below the bar: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
