"""Two entities made for tests: one with every kind of field, one that is only ever added to.

Backends, gateways and applications under test register `TEST_ENTITIES` beside their own.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from interlock.contract import Point, Record
from interlock.entities.types import Currency, Email, Long, Name, Short
from interlock.entity import Entity, Money, Reference, Unique

__all__ = ["LEDGER", "SAMPLES", "TEST_ENTITIES", "Detail", "Grade", "LedgerLine", "Sample"]

Grade = Literal["low", "mid", "high"]


class Detail(msgspec.Struct, frozen=True):
    """A value that backends keep as it is."""

    note: str
    sizes: tuple[int, ...] = ()


class Sample(Record, frozen=True, kw_only=True, rename="camel"):
    """One field of every kind. `number` counts per tenant; `code` and, whatever its case, `email` are unique."""

    number: int = 0
    label: Name
    code: Short | None = None
    email: Email | None = None
    body_text: Long | None = None
    grade: Grade | None = None
    rank: Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)] | None = None
    ratio: float | None = None
    amount: Decimal | None = None
    currency: Currency = "EUR"
    weight: Decimal | None = None
    active: bool | None = None
    day: date | None = None
    happened_at: datetime | None = None
    marks: Annotated[tuple[Name, ...], Meta(max_length=100)] = ()
    place: Point | None = None
    detail: Detail | None = None
    parent_id: str | None = None


SAMPLES: Final = Entity(
    Sample,
    resource="samples",
    searchable=("label", "body_text"),
    unique=(Unique("code"), Unique("email", folded=True)),
    references=(Reference("parent_id", "samples", parent=True),),
    money=(Money("amount", "currency"),),
    sequence="number",
    location="place",
)


class LedgerLine(Record, frozen=True, kw_only=True, rename="camel"):
    """A line that nobody may change."""

    text: Name


LEDGER: Final = Entity(LedgerLine, resource="ledger_lines", searchable=("text",), append_only=True)

TEST_ENTITIES: Final[tuple[Entity[Any], ...]] = (SAMPLES, LEDGER)
