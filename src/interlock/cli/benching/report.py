"""What a bench found: one value for programs, a table for people."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby

import msgspec
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from interlock.cli.benching.plan import Plan
from interlock.cli.benching.rounds import Cell

__all__ = ["Failure", "Machine", "Measured", "Report", "Subject", "figure", "measured", "table"]


class Machine(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Where the bench ran."""

    cores: int
    processor: str
    system: str
    python: str

    @classmethod
    def here(cls) -> Machine:
        """This one."""
        return cls(os.cpu_count() or 1, platform.machine(), platform.system(), platform.python_version())


class Failure(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What kept a backend from being measured, or from being cleaned up."""

    code: str
    message: str


class Subject(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One of those compared. `through` is `services`, or `backend` for one that is called alone.

    `tenants` were made for this run; `records_deleted` is how many live records of theirs were deleted at the end. `layers` are named outermost first.
    """

    name: str
    backend: str
    through: str
    layers: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    records_deleted: int = 0
    error: Failure | None = None
    clean_up_error: Failure | None = None


class Measured(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One verb at one of those compared, with so many calls at once.

    `calls` are those that were answered well; only they have latencies. None stands where there were none. `calls_per_second` is the median of
    the rounds, beside it the slowest and the fastest; percentiles are of all calls. What is relative is over that of `Report.relative_to`.
    `cached_share` is the share of the cache's answers, None without a cache.
    """

    name: str
    verb: str
    at_once: int
    calls: int
    rounds: int
    errors: dict[str, int]
    calls_per_second: float | None = None
    calls_per_second_lowest: float | None = None
    calls_per_second_highest: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    highest_ms: float | None = None
    p50_relative: float | None = None
    calls_per_second_relative: float | None = None
    cached_share: float | None = None


class Report(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A whole bench. Times are UTC, durations in the unit of their name."""

    started_at: datetime
    took_seconds: float
    interrupted: bool
    service: str
    resource: str
    verbs: tuple[str, ...]
    at_once: tuple[int, ...]
    records: int
    seed: int
    machine: Machine
    compared: tuple[Subject, ...]
    results: tuple[Measured, ...]
    relative_to: str | None = None
    calls_each: int | None = None
    seconds_each: float | None = None

    @property
    def failed(self) -> bool:
        """True where a backend did not answer, answered no call of a verb that it can do, or was not cleaned up."""
        if any(subject.error or subject.clean_up_error for subject in self.compared):
            return True
        return any(not found.calls and set(found.errors) - {"unsupported"} for found in self.results)


def measured(plan: Plan, cells: Iterable[Cell], base: str | None) -> tuple[Measured, ...]:
    """The figures of what was measured, by verb, number at once and backend; what is relative is over those of `base`."""
    order = {verb: place for place, verb in enumerate(plan.verbs)}
    taken = sorted((cell for cell in cells if cell.rates or cell.errors), key=lambda c: (order[c.verb], c.at_once))
    found = []
    for _, group in groupby(taken, key=lambda c: (c.verb, c.at_once)):
        own = [_figures(cell) for cell in group]
        first = next((one for one in own if one.name == base), None)
        found += [one if first is None else _beside(one, first) for one in own]
    return tuple(found)


def _beside(one: Measured, first: Measured) -> Measured:
    return msgspec.structs.replace(
        one,
        p50_relative=_ratio(one.p50_ms, first.p50_ms),
        calls_per_second_relative=_ratio(one.calls_per_second, first.calls_per_second),
    )


def _figures(cell: Cell) -> Measured:
    ordered = sorted(cell.latencies)
    asked = cell.hits + cell.misses
    return Measured(
        name=cell.contender.name,
        verb=cell.verb,
        at_once=cell.at_once,
        calls=len(ordered),
        rounds=len(cell.rates),
        errors=dict(sorted(cell.errors.items())),
        calls_per_second=_digits(cell.rate),
        calls_per_second_lowest=_digits(min(cell.rates)) if ordered else None,
        calls_per_second_highest=_digits(max(cell.rates)) if ordered else None,
        p50_ms=_ms(cell.percentile(0.50)),
        p95_ms=_ms(cell.percentile(0.95)),
        p99_ms=_ms(cell.percentile(0.99)),
        highest_ms=_ms(ordered[-1]) if ordered else None,
        cached_share=round(cell.hits / asked, 4) if asked else None,
    )


def _digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else _digits(seconds * 1000)


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else _digits(value / base)


def figure(value: float | None) -> str:
    """A figure as the table and the picture show it: three digits that count, none where there is none."""
    if value is None:
        return "-"
    if value >= 999.5:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def table(report: Report, at_once: int) -> RenderableType:
    """The figures with so many calls at once."""
    shown = [found for found in report.results if found.at_once == at_once]
    cached = any(found.cached_share is not None for found in shown)
    errors = any(found.errors for found in shown)
    grid = Table(box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="bold")
    grid.title = f"{report.service}, {at_once} at once" if at_once > 1 else f"{report.service}, one after another"
    grid.add_column("verb")
    grid.add_column("backend")
    for heading in ("calls/s", "p50 ms", "p95 ms", "p99 ms", f"p50, {report.relative_to} = 1"):
        grid.add_column(heading, justify="right")
    if cached:
        grid.add_column("cached", justify="right")
    if errors:
        grid.add_column("errors")
    for verb, group in groupby(shown, key=lambda found: found.verb):
        for place, found in enumerate(group):
            cells = [verb if not place else "", found.name, figure(found.calls_per_second)]
            cells += [figure(value) for value in (found.p50_ms, found.p95_ms, found.p99_ms, found.p50_relative)]
            if cached:
                cells.append("" if found.cached_share is None else f"{found.cached_share:.0%}")
            if errors:
                cells.append(counted(found.errors))
            grid.add_row(*map(escape, cells))
    return grid


def counted(errors: Mapping[str, int]) -> str:
    """Errors by their code, such as `unavailable 3`."""
    return ", ".join(f"{code} {count}" for code, count in errors.items())
