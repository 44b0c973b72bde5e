"""Files: what is known of them. Their bytes are kept by the ability `StoresFiles`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from interlock.contract import Record
from interlock.entities.types import Short
from interlock.entity import Entity

__all__ = ["FILES", "File"]


class File(Record, frozen=True, kw_only=True, rename="camel"):
    """A stored file. `size` is in bytes, `sha256` in lower-case hex; `owner_resource` and `owner_id` say what it belongs to."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    content_type: Short = "application/octet-stream"
    size: Annotated[int, Meta(ge=0)] = 0
    sha256: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")] = ""
    owner_resource: Short | None = None
    owner_id: Short | None = None


FILES = Entity(File, resource="files", searchable=("name",))
