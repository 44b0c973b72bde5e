"""Contracts with customers."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from interlock.contract import Record
from interlock.entities.types import Amount, Currency, Name
from interlock.entity import Entity, Money, Reference

__all__ = ["CONTRACTS", "Contract", "ContractStatus", "Renewal"]

ContractStatus = Literal["draft", "active", "expired", "terminated"]
Renewal = Literal["none", "manual", "automatic"]


class Contract(Record, frozen=True, kw_only=True, rename="camel"):
    """An agreement with a customer. `number` counts per tenant and is the backend's."""

    number: int = 0
    customer_id: str
    title: Name
    status: ContractStatus = "draft"
    value: Amount = Decimal(0)
    currency: Currency = "EUR"
    start_date: date | None = None
    end_date: date | None = None
    renewal: Renewal = "manual"
    signed_at: datetime | None = None


CONTRACTS = Entity(
    Contract,
    resource="contracts",
    searchable=("title",),
    references=(Reference("customer_id", "customers"),),
    money=(Money("value", "currency"),),
    sequence="number",
)
