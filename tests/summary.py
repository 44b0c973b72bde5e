"""What a run says at its very end: the minutes by folder, the memory of each worker, and the seed of its order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

__all__ = ["Summary"]


class Summary:
    """A pytest plugin for the process that reports, and for the workers that it starts."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._tests = Counter[str]()
        self._megabytes: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        folder = report.nodeid.partition("::")[0].rpartition("/")[0]
        self._seconds[folder] += report.duration
        self._tests[folder] += report.when == "call"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        now = psutil.Process().memory_info().rss >> 20
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["megabytes"] = now
        else:
            self._megabytes["this process"] = now

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        if "megabytes" in getattr(node, "workeroutput", {}):
            self._megabytes[node.gateway.id] = node.workeroutput["megabytes"]

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # after everybody else's, so that failures and minutes end a run
    def pytest_terminal_summary(self, terminalreporter: Any) -> Iterator[None]:
        yield
        if len(self._seconds) < 2:
            return
        terminalreporter.section("minutes by folder")
        for folder, seconds in sorted(self._seconds.items(), key=lambda item: -item[1]):
            terminalreporter.write_line(f"{seconds / 60:6.1f} min {self._tests[folder]:6} tests  {folder}")
        held = ", ".join(f"{name} {megabytes} MB" for name, megabytes in sorted(self._megabytes.items()))
        terminalreporter.write_line(f"memory at the end: {held}")
        if (seed := terminalreporter.config.getoption("randomly_seed", None)) is not None:
            terminalreporter.write_line(f"order: --randomly-seed={seed}")
