"""Import and export on the command line, with a progress bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from interlock.cli.exits import Exit
from interlock.cli.output import Output
from interlock.errors import Invalid
from interlock.services import Services
from interlock.services.transfer import Format, Report, export_rows, import_rows
from interlock.services.transfer import Progress as Step

__all__ = ["export_file", "import_file"]

SHOWN = 20
FORMATS: Mapping[str, Format] = {
    ".csv": "csv",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".xlsx": "xlsx",
}


def mapping_of(pairs: Sequence[str]) -> dict[str, str | None]:
    """`COLUMN=FIELD`, or `COLUMN=` to leave a column out."""
    found: dict[str, str | None] = {}
    for pair in pairs:
        column, equals, field = pair.rpartition("=")
        if not equals or not column:
            raise Invalid(
                {
                    "map": f"{pair!r} is not COLUMN=FIELD; write it like 'Company=company_name', or 'Fax=' to leave it out"
                }
            )
        found[column] = field or None
    return found


def _bar(output: Output) -> Any:
    if output.json or not output.errors.is_terminal:
        return nullcontext()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=output.errors,
    )


async def import_file(
    crm: Services, output: Output, path: Path, resource: str, *, dry_run: bool, **options: Any
) -> Exit:
    """Import a file and print its report. Answers `PARTLY` where rows were refused."""
    if not path.is_file():
        raise Invalid({"file": f"{path} does not exist; give the path of a CSV, JSON, NDJSON or XLSX file"})
    with _bar(output) as bar:
        task = bar.add_task("reading", total=None) if bar else None

        def show(step: Step) -> None:
            if bar is not None and task is not None:
                bar.update(task, completed=step.bytes_done, total=step.bytes_total, description=f"{step.rows} rows")

        service: Any = crm.of(resource)
        start = getattr(service, "import_", None)
        if start is None:
            report = await import_rows(service, path, dry_run=dry_run, progress=show, **options)
        else:
            report = await start(path, dry_run=dry_run, progress=show, **options)
    _tell(output, report)
    return Exit.PARTLY if report.failed else Exit.OK


def _tell(output: Output, report: Report) -> None:
    if output.json:
        output.data(report)
        return
    would = "would be " if report.dry_run else ""
    output.say(
        f"{report.rows} rows: {report.created} {would}created, {report.skipped} there already, {report.failed} refused"
    )
    if report.columns:
        output.say("columns: " + ", ".join(f"{column} → {field}" for column, field in report.columns.items()))
    if report.ignored:
        output.say("left out: " + ", ".join(f"{column} ({why})" for column, why in report.ignored.items()))
    if report.failures:
        output.table(
            ("line", "field", "reason", "value"),
            ((each.line, each.field, each.reason, each.value) for each in report.failures[:SHOWN]),
        )
        if len(report.failures) > SHOWN:
            output.say(f"... and {len(report.failures) - SHOWN} more; --json lists 1000")


async def export_file(
    crm: Services, output: Output, path: Path, resource: str, *, format: Format | None = None, **options: Any
) -> None:
    """Write all records that match to a file, which appears whole or not at all."""
    chosen = format or FORMATS.get(path.suffix.lower())
    if chosen is None:
        raise Invalid(
            {"file": f"{path.name} does not say its format; end it in {', '.join(FORMATS)}, or give --format"}
        )
    if not path.absolute().parent.is_dir():
        raise Invalid({"file": f"the folder {path.absolute().parent} does not exist; make it first"})
    rows = 0

    def count(step: Step) -> None:
        nonlocal rows
        rows = step.rows

    service: Any = crm.of(resource)
    own = getattr(service, "export", None)
    chunks = own(chosen, progress=count, **options) if own else export_rows(service, chosen, progress=count, **options)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            async for chunk in chunks:
                file.write(chunk)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    if output.json:
        output.data({"file": str(path), "format": chosen, "rows": rows, "bytes": path.stat().st_size})
    else:
        output.say(f"{rows} rows in {path}")
