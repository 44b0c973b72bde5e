"""Sales: deals and the stages that they move through."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta

from interlock.contract import Record
from interlock.entities.types import Amount, Currency, Name, Probability, Short
from interlock.entity import Entity, Money, Reference, Unique

__all__ = ["DEALS", "STAGES", "Deal", "Stage", "StageType"]

StageType = Literal["open", "ongoing", "on_hold", "won", "lost"]


class Stage(Record, frozen=True, kw_only=True, rename="camel"):
    """A column of the pipeline. `probability` is what a deal takes over when it enters the stage."""

    label: Name
    position: Annotated[int, Meta(ge=0, le=10_000)] = 0
    probability: Probability = 0
    type: StageType = "open"


STAGES = Entity(
    Stage, resource="stages", service="sales", searchable=("label",), unique=(Unique("label", folded=True),)
)


class Deal(Record, frozen=True, kw_only=True, rename="camel"):
    """A sale that may happen. `stage_id` is a `Stage`; `probability` is in per cent."""

    title: Name
    customer_id: str
    stage_id: str
    amount: Amount = Decimal(0)
    currency: Currency = "EUR"
    probability: Probability = 0
    expected_close: date | None = None
    assigned_to: str | None = None
    lost_reason: Short | None = None


DEALS = Entity(
    Deal,
    resource="deals",
    service="sales",
    searchable=("title",),
    references=(
        Reference("customer_id", "customers"),
        Reference("stage_id", "stages", parent=True),
        Reference("assigned_to", "users"),
    ),
    money=(Money("amount", "currency"),),
)
