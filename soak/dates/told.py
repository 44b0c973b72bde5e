"""A plugin of pytest for a run whose clock is moved: it waits for its moment, mixes the backends, and tells what ran before and after.

CLOCK_MOMENT is the moment (Unix time) and CLOCK_TOLD the file to tell in. With CLOCK_CROSSED the first test, once all that it needs is
started, waits until shortly before the moment, and the last quarter until it has come. PostgREST is reached by a way of its own.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Final

import pytest

from soak.dates import postgrest

postgrest.install()

SHORTLY: Final = 10.0
"""Seconds before a moment that is crossed at which the tests begin."""
MOMENT: Final = float(os.environ["CLOCK_MOMENT"])
TOLD: Final = Path(os.environ["CLOCK_TOLD"])

_outcomes: Counter[str] = Counter()
_when: Counter[str] = Counter()
_failures: dict[str, str] = {}
_crossed: Final = "CLOCK_CROSSED" in os.environ


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the tests of each backend over the whole run. Other modules stay whole: their fixtures are dear."""
    units: dict[str, list[list[pytest.Item]]] = defaultdict(list)
    modules: dict[str, list[pytest.Item]] = {}
    for item in items:
        module = item.path.as_posix()
        if item.path.parent.name == "services":
            params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
            units[f"{item.path.parent} {params.get('world')}"].append([item])
        else:
            modules.setdefault(module, []).append(item)
    units["modules"] = list(modules.values())
    placed = [
        ((place + 0.5) / len(group), number, unit)
        for number, group in enumerate(units.values())
        for place, unit in enumerate(group)
    ]
    placed.sort(key=lambda found: found[:2])
    items[:] = [item for _, _, unit in placed for item in unit]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    place = _when.total()
    if _crossed and place == 0:
        time.sleep(max(0.0, MOMENT - SHORTLY - time.time()))
    if _crossed and place == item.session.testscollected * 3 // 4:
        time.sleep(max(0.0, MOMENT - time.time()))
    began = time.time()
    try:
        return (yield)
    finally:
        ended = time.time()
        _when["before" if ended < MOMENT else "after" if began >= MOMENT else "across"] += 1


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.outcome] += 1
    if report.failed:
        _failures[f"{report.nodeid} ({report.when})"] = report.longreprtext[-3000:]


def pytest_sessionfinish(session: pytest.Session) -> None:
    TOLD.write_text(json.dumps({"outcomes": _outcomes, "when": _when, "failures": _failures, "ended": time.time()}))
