"""The picture of a bench: latencies and calls a second, by verb and backend, both on a logarithmic scale. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from io import BytesIO
from itertools import groupby
from string import Template
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from interlock.cli.benching.report import Measured, Report, counted, figure

__all__ = ["page", "picture"]

_COLOURS: Final = MappingProxyType({"mock": "#0072b2", "sql": "#d55e00", "real": "#009e73", "supabase": "#7b3294"})
"""Told apart by most who see colours in another way, and by nobody alone: every row has its name."""

_INK: Final = "#222222"
_FAINT: Final = "#d0d0d0"
_LEAST: Final = 0.01
"""Calls a second, at the least that the scale can show."""

_ROW: Final = 0.235
"""Inches of height of one row."""

_STYLE: Final[Mapping[Any, Any]] = MappingProxyType(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "interlock",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": _INK,
        "axes.edgecolor": _FAINT,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
)


class _Row(NamedTuple):
    """One line of the picture, `at` so many rows from the top."""

    at: float
    found: Measured
    backend: str
    bare: bool


def picture(report: Report, form: str = "svg") -> bytes:
    """The picture, as `svg` or `png`. Every figure also stands in it as text, under an id such as `sql.get.10.latency`."""
    panels = [at_once for at_once in report.at_once if any(found.at_once == at_once for found in report.results)]
    rows = [tuple(_rows(report, at_once)) for at_once in panels]
    heights = [(part[-1].at + 1.6) if part else 1.0 for part in rows]
    with rc_context(dict(_STYLE)):
        drawn = Figure(figsize=(12, _ROW * sum(heights) + 0.85 * len(panels) + 1.05))
        if panels:
            top = 1 - 1.25 / drawn.get_figheight()
            grid = drawn.subplots(
                len(panels),
                2,
                squeeze=False,
                width_ratios=(1.3, 1),
                height_ratios=heights,
                gridspec_kw={
                    "left": 0.165,
                    "right": 0.93,
                    "top": top,
                    "bottom": 0.5 / drawn.get_figheight(),
                    "wspace": 0.82,
                    "hspace": 0.85 * len(panels) / (_ROW * sum(heights) + 0.01),
                },
            )
            for (left, right), part, at_once in zip(grid, rows, panels, strict=True):
                heading = "one after another" if at_once == 1 else f"{at_once} at once"
                _latencies(left, part, f"Milliseconds a call, {heading}")
                _rates(right, part, f"Calls a second, {heading}")
        _head(drawn, report)
        content = BytesIO()
        metadata = {"Title": _title(report), "Date": None} if form == "svg" else {"Title": _title(report)}
        drawn.savefig(content, format=form, metadata=metadata, dpi=130, facecolor="white")
    return content.getvalue()


def _rows(report: Report, at_once: int) -> Iterator[_Row]:
    subjects = {subject.name: subject for subject in report.compared}
    shown = [found for found in report.results if found.at_once == at_once]
    at = 0.0
    for _, group in groupby(shown, key=lambda found: found.verb):
        for found in group:
            subject = subjects[found.name]
            yield _Row(at, found, subject.backend, subject.through == "backend")
            at += 1
        at += 0.7


def _latencies(axes: Axes, rows: Sequence[_Row], title: str) -> None:
    _frame(axes, rows, title)
    _over(axes, "p50 / p95 / p99")
    for verb, first in _firsts(rows):
        axes.annotate(
            verb,
            (0, first),
            (-128, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            ha="left",
            fontweight="bold",
            annotation_clip=False,
        )
    for row in rows:
        found = row.found
        colour = _COLOURS.get(row.backend, _INK)
        if found.p50_ms is not None and found.p95_ms is not None and found.p99_ms is not None:
            axes.plot((found.p50_ms, found.p99_ms), (row.at, row.at), color=colour, linewidth=2, alpha=0.55)
            face = "white" if row.bare else colour
            axes.plot(found.p50_ms, row.at, "o", color=colour, markersize=6, markerfacecolor=face)
            axes.plot(found.p95_ms, row.at, "|", color=colour, markersize=9, markeredgewidth=2)
            axes.plot(found.p99_ms, row.at, "D", color=colour, markersize=4.5, markerfacecolor=face)
        _beside(axes, row, "latency", _told(found))


def _rates(axes: Axes, rows: Sequence[_Row], title: str) -> None:
    _frame(axes, rows, title)
    for row in rows:
        found = row.found
        rates = (found.calls_per_second_lowest, found.calls_per_second_highest)
        if found.calls_per_second:
            colour = _COLOURS.get(row.backend, _INK)
            face = "white" if row.bare else colour
            axes.plot(
                [max(rate or 0.0, _LEAST) for rate in rates], (row.at, row.at), color=colour, linewidth=2, alpha=0.55
            )
            axes.plot(found.calls_per_second, row.at, "s", color=colour, markersize=6, markerfacecolor=face)
        _beside(axes, row, "rate", figure(found.calls_per_second))


def _told(found: Measured) -> str:
    parts = (
        [] if found.p50_ms is None else [" / ".join(figure(ms) for ms in (found.p50_ms, found.p95_ms, found.p99_ms))]
    )
    return "; ".join([*parts, *([counted(found.errors)] if found.errors else [])])


def _over(axes: Axes, text: str) -> None:
    axes.annotate(
        text, (1, 1), (5, 3), xycoords="axes fraction", textcoords="offset points", fontsize=8, annotation_clip=False
    )


def _beside(axes: Axes, row: _Row, what: str, text: str) -> None:
    label = axes.annotate(
        text,
        (1, row.at),
        (5, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        ha="left",
        fontsize=8,
        annotation_clip=False,
    )
    label.set_gid(f"{row.found.name.replace(' ', '-')}.{row.found.verb}.{row.found.at_once}.{what}")


def _frame(axes: Axes, rows: Sequence[_Row], title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", pad=8)
    axes.set_xscale("log")
    axes.set_yticks([row.at for row in rows], [row.found.name for row in rows])
    axes.xaxis.set_major_formatter(lambda value, _: figure(value))
    axes.grid(axis="x", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_ylim((rows[-1].at if rows else 0) + 0.8, -0.8)


def _firsts(rows: Sequence[_Row]) -> Iterator[tuple[str, float]]:
    for verb, group in groupby(rows, key=lambda row: row.found.verb):
        yield verb, next(group).at


def _head(drawn: Figure, report: Report) -> None:
    high = drawn.get_figheight()
    drawn.text(0.015, 1 - 0.14 / high, _title(report), va="top", fontsize=13, fontweight="bold")
    drawn.text(0.015, 1 - 0.40 / high, _facts(report), va="top", fontsize=8.5)
    marks = [
        Line2D([], [], color=_INK, marker="o", linestyle="", markersize=6, label="p50"),
        Line2D([], [], color=_INK, marker="|", linestyle="", markersize=9, markeredgewidth=2, label="p95"),
        Line2D([], [], color=_INK, marker="D", linestyle="", markersize=4.5, label="p99"),
        Line2D([], [], color=_INK, marker="s", linestyle="-", linewidth=2, label="median round, slowest to fastest"),
    ]
    if any(subject.through == "backend" for subject in report.compared):
        marks.append(
            Line2D(
                [],
                [],
                color=_INK,
                marker="o",
                linestyle="",
                markerfacecolor="white",
                label="bare: no services, no layers",
            )
        )
    drawn.legend(
        handles=marks, loc="upper right", bbox_to_anchor=(0.99, 1 - 0.06 / high), ncols=5, frameon=False, fontsize=8.5
    )


def _title(report: Report) -> str:
    return f"{report.service} on {', '.join(dict.fromkeys(subject.backend for subject in report.compared))}"


def _facts(report: Report) -> str:
    each = f"{report.calls_each} calls" if report.calls_each is not None else f"{report.seconds_each:g} s"
    machine = report.machine
    layers = "; ".join(
        f"{subject.name}: {', '.join(subject.layers) or 'none'}"
        for subject in report.compared
        if subject.through == "services"
    )
    return (
        f"{each} of each verb, {report.records:,} records, {report.started_at:%Y-%m-%d %H:%M} UTC, {machine.cores} cores, "
        f"{machine.processor}, Python {machine.python}{', interrupted' if report.interrupted else ''}\nLayers: {layers}"
    )


_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; }
table { border-collapse: collapse; margin-top: 1rem; }
th, td { padding: 0.15rem 0.8rem 0.15rem 0; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums; }
th:nth-child(-n+2), td:nth-child(-n+2), th:last-child, td:last-child { text-align: left; }
</style>
</head>
<body>
$picture
<table>
<thead><tr>$headings</tr></thead>
<tbody>
$rows
</tbody>
</table>
</body>
</html>
""")

_HEADINGS: Final = ("verb", "backend", "at once", "calls", "calls/s", "p50 ms", "p95 ms", "p99 ms", "cached", "errors")


def page(report: Report) -> bytes:
    """The picture and its figures as one HTML page that needs nothing else."""
    svg = picture(report).decode()
    rows = "\n".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(found))}</tr>" for found in report.results
    )
    headings = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
    return _PAGE.substitute(
        title=escape(_title(report)), picture=svg[svg.index("<svg") :], headings=headings, rows=rows
    ).encode()


def _cells(found: Measured) -> tuple[str, ...]:
    return (
        found.verb,
        found.name,
        str(found.at_once),
        f"{found.calls:,}",
        *map(figure, (found.calls_per_second, found.p50_ms, found.p95_ms, found.p99_ms)),
        "" if found.cached_share is None else f"{found.cached_share:.0%}",
        counted(found.errors),
    )
