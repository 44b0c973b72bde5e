"""A small table of latencies, one row for each configured backend and operation."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from statistics import median, quantiles
from typing import Any

from interlock.app import App
from interlock.cli.output import Output
from interlock.cli.session import DEFAULT_USER
from interlock.errors import InterlockError
from interlock.settings import Settings

__all__ = ["bench"]


async def _timed(call: Callable[[], Awaitable[Any]], runs: int) -> tuple[float, float, float]:
    """Median, 99th percentile and calls a second, one after the other. In seconds."""
    await call()
    spent = []
    for _ in range(runs):
        begun = time.perf_counter()
        await call()
        spent.append(time.perf_counter() - begun)
    return median(spent), quantiles(spent, n=100)[98], runs / sum(spent)


async def bench(settings: Settings, output: Output, runs: int) -> int:
    """Measure reads of customers on every configured backend. Answers how many backends did not answer."""
    backends = dict.fromkeys(settings.backend_of(service) for service in ("customers", "sales", "tickets", "contracts"))
    found: list[dict[str, Any]] = []
    failed = 0
    for backend in backends:
        try:
            found += await _of_backend(settings, backend, runs)
        except InterlockError as error:
            failed += 1
            found.append({"backend": backend, "operation": "", "error": error.message})
    if output.json:
        output.data({"runs": runs, "results": found})
    else:
        output.table(
            ("backend", "operation", "median ms", "p99 ms", "calls/s", ""),
            (
                (row["backend"], row["operation"], *(row.get(k) for k in ("medianMs", "p99Ms", "perSecond", "error")))
                for row in found
            ),
        )
    return failed


async def _of_backend(settings: Settings, backend: str, runs: int) -> list[dict[str, Any]]:
    from interlock.embedded import DEMO_PASSWORD

    app = await App.open(settings.model_copy(update={"api_mode": backend, "backends": {}}))
    try:
        crm = app.services()
        await crm.auth.login(DEFAULT_USER, DEMO_PASSWORD)
        page = await crm.customers.list(limit=1)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {"list 50": lambda: crm.customers.list(limit=50)}
        if page.items:
            calls["get"] = lambda: crm.customers.get(page.items[0].id)
            calls["search"] = lambda: crm.customers.list(search=page.items[0].company_name[:4])
        rows = []
        for operation, call in calls.items():
            middle, late, rate = await _timed(call, runs)
            rows.append(
                {
                    "backend": backend,
                    "operation": operation,
                    "medianMs": round(middle * 1000, 3),
                    "p99Ms": round(late * 1000, 3),
                    "perSecond": round(rate),
                }
            )
        return rows
    finally:
        await app.aclose()
