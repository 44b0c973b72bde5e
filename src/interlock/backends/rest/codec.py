"""Rows from bytes and back: decoders made once per entity and dialect, straight to typed records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.contract import Record
from interlock.entity import Entity

if TYPE_CHECKING:
    from interlock.backends.rest.dialects import Dialect

__all__ = ["Codec", "dig"]


_COMPARABLE: Mapping[str, Any] = {
    "int": int,
    "float": float,
    "decimal": Decimal,
    "bool": bool,
    "date": date,
    "datetime": datetime,
}


def _case(name: str, casing: str) -> str:
    if casing == "snake":
        return name
    words = name.split("_")
    if casing == "pascal":
        return "".join(word.capitalize() for word in words)
    return words[0] + "".join(word.capitalize() for word in words[1:])


def dig(value: Any, path: str) -> Any:
    """What a dotted path leads to, or None."""
    for step in path.split(".") if path else ():
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _enveloped(leaves: Mapping[str, Any]) -> Any:
    """A type whose members stand at the dotted paths: `{"data": Rows, "meta.total": int}`."""
    if "" in leaves:
        return leaves[""]
    members: dict[str, dict[str, Any]] = {}
    for path, kind in leaves.items():
        head, _, rest = path.partition(".")
        members.setdefault(head, {})[rest] = kind
    fields = [(f"m{place}", _enveloped(below)) for place, below in enumerate(members.values())]
    return msgspec.defstruct("Envelope", fields, rename=dict(zip((name for name, _ in fields), members, strict=True)))


class Codec:
    """What one entity's rows look like in one dialect."""

    def __init__(self, entity: Entity[Any], dialect: Dialect) -> None:
        self.entity = entity
        self._wire = {name: self._named(dialect, name, field.wire) for name, field in entity.fields.items()}
        self._python = {wire: name for name, wire in self._wire.items()}
        self._numbers = dialect.decimals == "number"
        self._write = dialect.envelope.write
        self._alike = all(field.wire == self._wire[name] for name, field in entity.fields.items())
        shape = entity.record if self._alike else self._shadow()
        envelope = dialect.envelope
        self._list_paths = [envelope.items] + ([envelope.total] if envelope.total else [])
        leaves: dict[str, Any] = {envelope.items: tuple[shape, ...]}  # type: ignore[valid-type]  # a type made while running
        if envelope.total:
            leaves[envelope.total] = int
        self._list = msgspec.json.Decoder(_enveloped(leaves))
        self._item = msgspec.json.Decoder(_enveloped({envelope.item: shape}))
        self._has_total = bool(envelope.total)
        self._items_depth = len(envelope.items.split(".")) if envelope.items else 0
        self._total_path = self._attributes(envelope.items, envelope.total)
        self._item_path = ["m0"] * (len(envelope.item.split(".")) if envelope.item else 0)
        self._encode = msgspec.json.Encoder(decimal_format="number" if self._numbers else "string").encode
        self._many = tuple[entity.record, ...]  # type: ignore[name-defined]  # a type made while running

    def _named(self, dialect: Dialect, name: str, wire: str) -> str:
        own = dialect.names.get(f"{self.entity.resource}.{name}") or dialect.names.get(name)
        if own:
            return own
        return wire if dialect.casing == "camel" else _case(name, dialect.casing)

    def _shadow(self) -> Any:
        """The record's twin under the API's names; msgspec turns one into the other by attribute."""
        fields: list[Any] = []
        for info in msgspec.structs.fields(self.entity.record):
            kind = self.entity.fields[info.name].python
            if info.required:
                fields.append((info.name, kind))
            elif info.default is not msgspec.NODEFAULT:
                fields.append((info.name, kind, info.default))
            else:
                fields.append((info.name, kind, msgspec.field(default_factory=info.default_factory)))
        return msgspec.defstruct(self.entity.record.__name__, fields, rename=self._wire, kw_only=True)

    @staticmethod
    def _attributes(items: str, total: str) -> list[str]:
        """Where `_enveloped` put the total: beside the items, or below the same member."""
        path = []
        left, right = items.split("."), total.split(".")
        while left and right and left[0] == right[0]:
            path.append("m0")
            left, right = left[1:], right[1:]
        return [*path, "m1", *["m0"] * (len(right) - 1)]

    def wire(self, name: str) -> str:
        """The API's name of a field."""
        return self._wire[name]

    def name(self, wire: str) -> str:
        """Our name of the API's field; a name that is not known stays."""
        found = self._python.get(wire)
        if found is None:
            folded = wire.lower()
            found = next((name for known, name in self._python.items() if known.lower() == folded), wire)
        return found

    def rows(self, body: bytes) -> tuple[tuple[Any, ...], int | None]:
        """The rows of a list, and the total where the envelope has one. Raises `msgspec.MsgspecError`."""
        decoded = self._list.decode(body)
        total = _follow(decoded, self._total_path) if self._has_total else None
        rows = _follow(decoded, ["m0"] * self._items_depth)
        if not self._alike:
            rows = msgspec.convert(rows, self._many, from_attributes=True)
        return rows, total

    def row(self, body: bytes) -> Record:
        """A single row. Raises `msgspec.MsgspecError`."""
        decoded: Record = _follow(self._item.decode(body), self._item_path)
        return decoded if self._alike else self._convert(decoded)

    def _convert(self, shadow: Record) -> Record:
        return msgspec.convert(shadow, self.entity.record, from_attributes=True)  # type: ignore[no-any-return]  # Entity[Any]

    def encode(self, values: Mapping[str, Any]) -> bytes:
        """A JSON object of values by our field names."""
        plain = {self._wire[name]: _plain(value) for name, value in values.items()}
        return self._encode({self._write: plain} if self._write else plain)

    def comparable(self, name: str) -> Any:
        """The type of a field's values, without their constraints."""
        return _COMPARABLE.get(self.entity.fields[name].kind, str)

    def values(self, row: Record, names: Iterable[str]) -> dict[str, Any]:
        """Some of a row's fields."""
        return {name: getattr(row, name) for name in names}


def _plain(value: Any) -> Any:
    """Times with all six digits: servers that compare them as texts must not stumble over absent ones."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value


def _follow(value: Any, path: list[str]) -> Any:
    for step in path:
        value = getattr(value, step)
    return value
