"""Customers, and the tags that mark them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from interlock.contract import Point, Record
from interlock.entities.types import Email, Long, Name, Short
from interlock.entity import Entity, Reference, Unique

__all__ = ["CUSTOMERS", "TAGS", "Customer", "CustomerSize", "CustomerStatus", "Tag"]

CustomerStatus = Literal["lead", "prospect", "active", "inactive"]
CustomerSize = Literal["micro", "small", "medium", "large", "enterprise"]


class Customer(Record, frozen=True, kw_only=True, rename="camel"):
    """A company that the tenant does, or may do, business with. `tags` are names of `Tag` records."""

    company_name: Name
    contact_name: Short | None = None
    email: Email | None = None
    phone: Short | None = None
    address: Short | None = None
    city: Short | None = None
    country: Short | None = None
    industry: Short | None = None
    size: CustomerSize | None = None
    status: CustomerStatus = "lead"
    notes: Long | None = None
    assigned_to: str | None = None
    location: Point | None = None
    tags: Annotated[tuple[Name, ...], Meta(max_length=100)] = ()


CUSTOMERS = Entity(
    Customer,
    resource="customers",
    searchable=("company_name", "contact_name", "email", "city", "notes"),
    unique=(Unique("email", folded=True),),
    references=(Reference("assigned_to", "users"),),
    location="location",
)


class Tag(Record, frozen=True, kw_only=True, rename="camel"):
    """A mark for customers. Its name is unique in the tenant, whatever its case."""

    name: Name
    color: Annotated[str, Meta(pattern=r"^#[0-9a-f]{6}$")] = "#808080"


TAGS = Entity(Tag, resource="tags", service="customers", searchable=("name",), unique=(Unique("name", folded=True),))
