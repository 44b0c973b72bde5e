"""The customers that benches work with: the same ones each time."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from interlock.contract import Backend, Identity, Point
from interlock.entities import ENTITIES
from interlock.entities.customer import Customer
from interlock.router import Route, Router
from interlock.services import Services
from interlock.services.facade import Wiring

__all__ = ["ADMIN", "customers", "services", "write_csv"]

ADMIN = Identity("0190d2f1-0000-7000-8000-000000000001", "acme", "admin")
_CITIES = (
    ("Berlin", "Germany"),
    ("México D.F.", "Mexico"),
    ("Luleå", "Sweden"),
    ("Saint Paul", "United States"),
    ("Łódź", "Poland"),
)
_INDUSTRIES = ("Industrials", "Health Care", "Information Technology", "Utilities", "Consumer Staples")


def customers(count: int) -> list[Customer]:
    """Rows to create, about 500 bytes of JSON each."""
    pick = random.Random(7)  # noqa: S311 - the same data each time, not a secret
    rows = []
    for number in range(count):
        city, country = pick.choice(_CITIES)
        rows.append(
            Customer(
                company_name=f"Company {number} {pick.randrange(10**6)} GmbH",
                contact_name=f"Person {pick.randrange(10**6)}",
                email=f"person{number}@company{pick.randrange(10**6)}.example",
                phone=f"+49 30 {pick.randrange(10**7)}",
                address=f"Street {pick.randrange(999)}",
                city=city,
                country=country,
                industry=pick.choice(_INDUSTRIES),
                status="active",
                notes="A note that says what was talked about the last time, and what is to be done next.",
                location=Point(pick.uniform(-60, 60), pick.uniform(-180, 180)),
            )
        )
    return rows


def write_csv(path: Path, count: int) -> None:
    """A file to import, written line by line."""
    pick = random.Random(7)  # noqa: S311 - the same data each time, not a secret
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("Company,Contact,E-Mail,Phone,Address,City,Country,Industry,Status,Notes\r\n")
        for number in range(count):
            city, country = pick.choice(_CITIES)
            file.write(
                f'Company {number},"Person, {number}",person{number}@company.example,+49 30 {number},Street {number % 999},{city},{country},'
                f"{pick.choice(_INDUSTRIES)},active,What was talked about the last time\r\n"
            )


def services(backend: Backend, *, name: str = "bench") -> Services:
    """The ten services over one backend, no layer on."""
    router = Router()
    for service in ("auth", *{entity.service for entity in ENTITIES}):
        router.publish(Route(service, name, backend, router.next_epoch()))
    entities: Mapping[str, Any] = {entity.resource: entity for entity in ENTITIES}
    now: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731 - a clock
    return Services(
        Wiring(router=router, entities=entities, now=now, remember=lambda *_: None, written=_unwatched, own={}), ADMIN
    )


async def _unwatched(*_: Any) -> None:
    """Nobody is told of writes here."""
