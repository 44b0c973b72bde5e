"""Runs what is long and random, part by part; writes seeds and figures to soak/results.json; ends with 1 where a part is red.

python -m soak                     every part
python -m soak races day --seed 7  these parts, as they ran with that seed
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PARTS = tuple(sorted({test.parent.name for test in HERE.glob("*/test_*.py")}))
WORKERS = {"dates": 0, "processes": 0}
"""Parts that start processes of their own run in this one; the others in two workers."""


def run(part: str, seed: int) -> tuple[bool, dict[str, Any]]:
    """Whether a part is green, and what it did."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        workers = str(WORKERS.get(part, 2))
        options = (
            "-q",
            "-p",
            "no:randomly",
            "-n",
            workers,
            "--dist",
            "worksteal",
            "--timeout",
            "3600",
            f"--junitxml={report}",
        )
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", str(HERE / part), *options],
            cwd=HERE.parent,
            env=os.environ | {"SOAK_SEED": str(seed), "CI": "true"},
            check=False,
        )
        minutes = round((time.monotonic() - began) / 60, 1)
        suites = list(ElementTree.parse(report).getroot().iter("testsuite")) if report.exists() else []  # noqa: S314 - our own file
    counts, figures = Counter[str](), Counter[str]()
    for suite in suites:
        counts.update({name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")})
        for told in suite.iter("property"):
            figures[told.attrib["name"]] += int(told.attrib["value"])
    return done.returncode == 0, {"seed": seed, "minutes": minutes, **counts, "figures": dict(sorted(figures.items()))}


def keep(part: str, result: dict[str, Any]) -> None:
    """Write what a part did beside the others' results."""
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**results, part: result}, indent=2, sort_keys=True) + "\n", "utf-8")


def main() -> int:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m soak", description="Runs what is long and random, part by part.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; none means all")
    parser.add_argument("--seed", type=int, help="repeats a run; without it, each run has a new one")
    given = parser.parse_args()
    for part in given.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}; choose from {', '.join(PARTS)}")
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1_000_000)
    ended: dict[str, tuple[bool, dict[str, Any]]] = {}
    for part in given.parts or PARTS:
        sys.stdout.write(f"== {part}, seed {seed}\n")
        sys.stdout.flush()
        ended[part] = green, result = run(part, seed)
        if green:
            keep(part, result)
    for part, (green, result) in ended.items():
        told = ", ".join(f"{count:,} {name}" for name, count in result["figures"].items())
        sys.stdout.write(f"{'green' if green else 'RED':6}{part:12}{result['minutes']:5} min  {told}\n")
    return 0 if all(green for green, _ in ended.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
