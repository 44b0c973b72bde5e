"""Export: all records that match, a page at a time along a cursor, as a stream of bytes in memory that does not grow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from interlock.contract import MAX_LIMIT, Deleted, Filter
from interlock.entity import Entity, Field
from interlock.errors import Invalid
from interlock.services.transfer.csv_format import CsvWriter
from interlock.services.transfer.json_format import JsonWriter
from interlock.services.transfer.report import Format, Progress, Watcher
from interlock.services.transfer.xlsx_format import XlsxWriter
from interlock.validation import suggest

if TYPE_CHECKING:
    from interlock.services.base import EntityService

__all__ = ["content_type", "default_columns", "export_rows"]

_STEP = 256 * 1024


def content_type(format: Format) -> str:
    """The media type of an export."""
    match format:
        case "csv":
            return "text/csv; charset=utf-8"
        case "json":
            return "application/json"
        case "ndjson":
            return "application/x-ndjson"
        case "xlsx":
            return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def default_columns(entity: Entity[Any]) -> tuple[str, ...]:
    """What an export holds where nothing was chosen: all but the tenant."""
    return tuple(name for name in entity.fields if name != "tenant_id")


def _fields(entity: Entity[Any], columns: Sequence[str] | None) -> tuple[Field, ...]:
    wanted = default_columns(entity) if columns is None else tuple(columns)
    problems = {
        f"columns.{name}": f"is not a field of {entity.resource}{suggest(name, entity.fields)}"
        for name in wanted
        if name not in entity.fields
    }
    if not wanted or len(set(wanted)) < len(wanted):
        problems["columns"] = "needs at least one, and none twice"
    if problems:
        raise Invalid(problems)
    return tuple(entity.fields[name] for name in wanted)


async def export_rows(
    service: EntityService[Any],
    format: Format,
    where: Filter | None = None,
    *,
    columns: Sequence[str] | None = None,
    search: str | None = None,
    sort: str | Sequence[str] = (),
    deleted: Deleted = "without",
    progress: Watcher | None = None,
    page: int = MAX_LIMIT,
    **filters: Any,
) -> AsyncIterator[bytes]:
    """The file's bytes, as they come. `columns` chooses fields and their order; the other arguments are those of `list`.

    Raises `Invalid` for an unknown column or format, at the first step.
    """
    fields = _fields(service.entity, columns)
    if format == "xlsx":
        writer: CsvWriter | JsonWriter | XlsxWriter = XlsxWriter(fields)
    elif format == "csv":
        writer = CsvWriter(fields)
    elif format in ("json", "ndjson"):
        writer = JsonWriter(fields, lines=format == "ndjson")
    else:
        raise Invalid({"format": f"{format!r} is not one of csv, json, ndjson, xlsx"})
    try:
        if not isinstance(writer, XlsxWriter) and (start := writer.start()):
            yield start
        done = 0
        cursor: str | None = None
        while True:
            found = await service.list(
                where, search=search, sort=sort, limit=page, cursor=cursor, deleted=deleted, **filters
            )
            step = await anyio.to_thread.run_sync(writer.rows, found.items)
            if step:
                yield step
            done += len(found.items)
            if progress is not None:
                progress(Progress(done))
            cursor = found.next_cursor
            if cursor is None:
                break
        if isinstance(writer, XlsxWriter):
            file = await anyio.to_thread.run_sync(writer.finish)
            while step := await anyio.to_thread.run_sync(file.read, _STEP):
                yield step
        elif end := writer.end():
            yield end
    finally:
        if isinstance(writer, XlsxWriter):
            writer.close()
