"""What a backend must know of a record: its fields and their kinds, searchable text, unique keys, references.

One `Entity` is enough for a table, a REST resource, its routes, its JSON Schema and its conformance tests::

    class Project(Record, frozen=True, kw_only=True, rename="camel"):
        name: Annotated[str, Meta(min_length=1, max_length=120)]
        budget: Decimal | None = None

    PROJECTS = Entity(Project, resource="projects", searchable=("name",), unique=(Unique("name"),))
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from interlock.contract import SERVER_OWNED, Point, Record
from interlock.errors import Invalid

__all__ = ["Entity", "Field", "Kind", "Money", "Reference", "Unique", "fold", "unchanged"]

R = TypeVar("R", bound=Record)

Kind = Literal["id", "text", "choice", "int", "float", "decimal", "bool", "date", "datetime", "texts", "point", "json"]
"""`texts` is a tuple of str; `json` any other msgspec value, kept as it is and not filtered by."""

_PLAIN_KINDS: Mapping[Any, Kind] = {
    str: "text",
    int: "int",
    float: "float",
    Decimal: "decimal",
    bool: "bool",
    date: "date",
    datetime: "datetime",
    Point: "point",
}


def fold(text: str) -> str:
    """The one case folding of search and of folded unique keys, on every backend."""
    return text.lower()


class Unique(msgspec.Struct, frozen=True):
    """No two undeleted records of a tenant share this field's value; nulls never clash. `folded` compares lower-cased."""

    field: str
    folded: bool = False


class Reference(msgspec.Struct, frozen=True):
    """The field holds the id of a record of `resource`. `parent` marks one within the same service (a foreign key may stand)."""

    field: str
    resource: str
    parent: bool = False


class Money(msgspec.Struct, frozen=True):
    """The field `amount` is money in the ISO 4217 code of the field `currency`."""

    amount: str
    currency: str


class Field(msgspec.Struct, frozen=True):
    """One field as backends see it. `wire` is its JSON name. `python` is its annotation, with constraints."""

    name: str
    wire: str
    kind: Kind
    nullable: bool
    required: bool
    server_owned: bool
    python: Any
    choices: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        """True where filters (beyond `is_null` and, on lists, `contains`) and sorts make sense."""
        return self.kind not in {"texts", "point", "json"}


def _strip(annotation: Any) -> tuple[Any, bool]:
    """The annotation without None and constraints, and whether None was there."""
    nullable = False
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in {types.UnionType, typing.Union}:
            arms = [arm for arm in typing.get_args(annotation) if arm is not type(None)]
            nullable = nullable or len(arms) < len(typing.get_args(annotation))
            if len(arms) > 1:
                return annotation, nullable
            annotation = arms[0]
        else:
            return annotation, nullable


def _kind(name: str, annotation: Any, references: frozenset[str]) -> tuple[Kind, bool, tuple[str, ...]]:
    plain, nullable = _strip(annotation)
    if typing.get_origin(plain) is Literal:
        return "choice", nullable, tuple(typing.get_args(plain))
    if plain is str and (name == "id" or name in references):
        return "id", nullable, ()
    if typing.get_origin(plain) is tuple and _strip(typing.get_args(plain)[0])[0] is str:
        return "texts", nullable, ()
    return _PLAIN_KINDS.get(plain, "json"), nullable, ()


class Entity(Generic[R]):
    """A record type and what a backend must know of it. Immutable; compares by identity.

    - `resource`: the plural name on the wire and of the table; `service`: who serves it (the resource itself by default).
    - `searchable`: text fields that `search` looks into.
    - `sequence`: an int field that the backend numbers per tenant on create, without duplicates, gaps allowed.
    - `append_only`: rows are created and never changed.
    - `internal`: no edge serves it.
    """

    def __init__(
        self,
        record: type[R],
        *,
        resource: str,
        service: str | None = None,
        searchable: Sequence[str] = (),
        unique: Sequence[Unique] = (),
        references: Sequence[Reference] = (),
        money: Sequence[Money] = (),
        sequence: str | None = None,
        location: str | None = None,
        append_only: bool = False,
        internal: bool = False,
    ) -> None:
        self.record = record
        self.resource = resource
        self.service = service or resource
        self.searchable = tuple(searchable)
        self.unique = tuple(unique)
        self.references = tuple(references)
        self.money = tuple(money)
        self.sequence = sequence
        self.location = location
        self.append_only = append_only
        self.internal = internal
        self.fields: Mapping[str, Field] = types.MappingProxyType(self._read_fields())
        self.by_wire: Mapping[str, Field] = types.MappingProxyType({f.wire: f for f in self.fields.values()})
        self._check()

    def __repr__(self) -> str:
        return f"Entity({self.resource!r})"

    def _read_fields(self) -> dict[str, Field]:
        hints = typing.get_type_hints(self.record, include_extras=True)
        references = frozenset(r.field for r in self.references) | {"created_by", "updated_by"}
        fields = {}
        for info in msgspec.structs.fields(self.record):
            kind, nullable, choices = _kind(info.name, hints[info.name], references)
            owned = info.name in SERVER_OWNED or info.name == self.sequence
            fields[info.name] = Field(
                info.name, info.encode_name, kind, nullable, info.required, owned, hints[info.name], choices
            )
        return fields

    def _check(self) -> None:
        named = [
            *self.searchable,
            *(u.field for u in self.unique),
            *(r.field for r in self.references),
            *(name for m in self.money for name in (m.amount, m.currency)),
            *filter(None, (self.sequence, self.location)),
        ]
        unknown = sorted({name for name in named if name not in self.fields})
        if unknown:
            raise TypeError(f"{self.record.__name__} has no field {', '.join(unknown)}")

    @cached_property
    def writable(self) -> frozenset[str]:
        """The fields that a caller may set on create; all but `id` may be patched."""
        return frozenset(name for name, field in self.fields.items() if not field.server_owned)

    def search_text(self, row: R) -> str:
        """What `search` looks into: the folded searchable fields, joined by a character that no text may contain."""
        return "\x1f".join(fold(value) for name in self.searchable if (value := getattr(row, name)))

    def unique_value(self, unique: Unique, row: R) -> Any:
        """The value that must not occur twice, or None."""
        value = getattr(row, unique.field)
        return fold(value) if unique.folded and value is not None else value

    def reference(self, field: str) -> Reference | None:
        """The reference that a field holds, if it is one."""
        return next((r for r in self.references if r.field == field), None)

    def convert(self, values: Mapping[str, Any]) -> R:
        """A row from plain Python values keyed by wire names. Raises `Invalid` naming the field."""
        try:
            return msgspec.convert(values, self.record, strict=False, str_keys=True)
        except msgspec.ValidationError as error:
            raise Invalid({"record": str(error)}) from error


def unchanged(before: Record, patch: Mapping[str, Any]) -> bool:
    """True where the patch would change nothing, so that the version stays."""
    return all(getattr(before, name) == value for name, value in patch.items())
