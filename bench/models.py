"""The customer as a pydantic model, for the peers."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

__all__ = ["CustomerModel"]


class PointModel(BaseModel):
    """A place."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)


class CustomerModel(BaseModel):
    """The same fields and limits as `interlock.entities.Customer`, under their wire names."""

    id: str
    tenantId: str  # noqa: N815 - the wire's names
    createdAt: datetime  # noqa: N815 - the name on the wire
    updatedAt: datetime  # noqa: N815 - the name on the wire
    createdBy: str | None  # noqa: N815 - the name on the wire
    updatedBy: str | None  # noqa: N815 - the name on the wire
    version: int
    deletedAt: datetime | None  # noqa: N815 - the name on the wire
    companyName: str = Field(min_length=1, max_length=200)  # noqa: N815 - the name on the wire
    contactName: str | None = Field(max_length=200)  # noqa: N815 - the name on the wire
    email: str | None = Field(max_length=254)
    phone: str | None = Field(max_length=200)
    address: str | None = Field(max_length=200)
    city: str | None = Field(max_length=200)
    country: str | None = Field(max_length=200)
    industry: str | None = Field(max_length=200)
    size: str | None
    status: str
    notes: str | None = Field(max_length=20_000)
    assignedTo: str | None  # noqa: N815 - the name on the wire
    location: PointModel | None
    tags: list[str]
