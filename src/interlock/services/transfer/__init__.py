"""Import and export of records: CSV, JSON, NDJSON and XLSX, for any entity, streamed."""

from __future__ import annotations

from interlock.services.transfer.columns import Profile
from interlock.services.transfer.exporting import content_type, export_rows
from interlock.services.transfer.importing import import_rows
from interlock.services.transfer.report import Failure, Format, Limits, Progress, Report, Skip, Watcher
from interlock.services.transfer.source import Source

__all__ = [
    "Failure",
    "Format",
    "Limits",
    "Profile",
    "Progress",
    "Report",
    "Skip",
    "Source",
    "Watcher",
    "content_type",
    "export_rows",
    "import_rows",
]
