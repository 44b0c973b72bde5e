"""Seeded generators of believable records: the same seed, the same records."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from interlock.contract import Point, Record
from interlock.entities import Comment, Contract, Customer, Deal, Notification, Stage, Tag, Ticket
from interlock.seed.ids import fixed_id

if TYPE_CHECKING:
    from faker import Faker

__all__ = ["Generator"]


class City(NamedTuple):
    """A real city: its centre, in degrees, and what is spoken and paid with there."""

    name: str
    country: str
    locale: str
    currency: str
    lat: float
    lon: float


CITIES: Final = (
    City("Berlin", "Germany", "de_DE", "EUR", 52.52, 13.405),
    City("München", "Germany", "de_DE", "EUR", 48.137, 11.575),
    City("Paris", "France", "fr_FR", "EUR", 48.857, 2.352),
    City("Lyon", "France", "fr_FR", "EUR", 45.764, 4.836),
    City("Madrid", "Spain", "es_ES", "EUR", 40.417, -3.704),
    City("Kraków", "Poland", "pl_PL", "EUR", 50.065, 19.945),
    City("Göteborg", "Sweden", "sv_SE", "EUR", 57.709, 11.975),
    City("London", "United Kingdom", "en_GB", "GBP", 51.507, -0.128),
    City("Manchester", "United Kingdom", "en_GB", "GBP", 53.483, -2.244),
    City("New York", "United States", "en_US", "USD", 40.713, -74.006),
    City("Chicago", "United States", "en_US", "USD", 41.878, -87.63),
    City("San Francisco", "United States", "en_US", "USD", 37.775, -122.419),
)

INDUSTRIES: Final = (
    "Software",
    "Manufacturing",
    "Healthcare",
    "Retail",
    "Logistics",
    "Energy",
    "Finance",
    "Education",
    "Construction",
    "Food",
)

TAGS: Final = (("key account", "#c0392b"), ("newsletter", "#2980b9"), ("partner", "#27ae60"), ("at risk", "#e67e22"))

STAGES: Final = (
    ("Lead in", 10, "open"),
    ("Qualified", 30, "ongoing"),
    ("Proposal", 60, "ongoing"),
    ("On hold", 20, "on_hold"),
    ("Won", 100, "won"),
    ("Lost", 0, "lost"),
)

PROBLEMS: Final = (
    ("Invoice shows the wrong address", "billing"),
    ("Export stops after the first page", "bug"),
    ("How do we add a second office?", "question"),
    ("Delivery is three days late", "logistics"),
    ("Log-in from the new laptop fails", "access"),
    ("Please cancel one licence", "billing"),
    ("Report is empty since Monday", "bug"),
    ("Need the signed contract as PDF", "question"),
)

ANSWERS: Final = (
    "Thank you, we are looking into it.",
    "Could you send us a screenshot?",
    "This is fixed now; please check on your side.",
    "I have passed this on to our billing team.",
)

COMMENT_SHARE: Final = 0.6


class Generator:
    """Records of one tenant. `users` are ids that records may be assigned to; dates lie around `now`."""

    def __init__(self, seed: int, tenant: str, users: tuple[str, ...], now: datetime) -> None:
        self._random = random.Random(seed)  # noqa: S311 - demo data, and repeatable on purpose
        self._seed = seed
        self._tenant = tenant
        self._users = users
        self._now = now.replace(hour=9, minute=0, second=0, microsecond=0)
        self._fakers: dict[str, Faker] = {}

    def records(self, customers: int) -> Iterator[tuple[str, Iterable[Record]]]:
        """Resource and rows, in an order in which every reference is there before it is used."""
        yield "tags", [Tag(id=self._id("tag", name), name=name, color=color) for name, color in TAGS]
        yield (
            "stages",
            [
                Stage(id=self._id("stage", label), label=label, position=place, probability=probability, type=kind)  # type: ignore[arg-type]  # types of the table above
                for place, (label, probability, kind) in enumerate(STAGES)
            ],
        )
        yield "customers", (self._customer(n) for n in range(customers))
        yield "deals", (self._deal(n, customers) for n in range(customers and customers * 2 // 3 + 1))
        yield "tickets", (self._ticket(n, customers) for n in range(customers and customers // 2 + 1))
        yield "comments", (self._comment(n) for n in range(int((customers and customers // 2 + 1) * COMMENT_SHARE)))
        yield "contracts", (self._contract(n, customers) for n in range(customers and customers // 3 + 1))
        yield "notifications", (self._notification(n) for n in range(len(self._users) * 3 if customers else 0))

    def _id(self, kind: str, name: object) -> str:
        return fixed_id(kind, f"{self._seed}:{self._tenant}:{name}")

    def _fake(self, locale: str) -> Faker:
        if locale not in self._fakers:
            from faker import Faker

            self._fakers[locale] = Faker(locale)
            self._fakers[locale].seed_instance(self._seed)
        return self._fakers[locale]

    def _any_customer(self, customers: int) -> str:
        return self._id("customer", self._random.randrange(customers))

    def _day(self, earliest: int, latest: int) -> datetime:
        return self._now + timedelta(days=self._random.randint(earliest, latest))

    def _customer(self, n: int) -> Customer:
        draw = self._random
        city = draw.choice(CITIES)
        fake = self._fake(city.locale)
        company = fake.company()
        word = "".join(c for c in company.lower() if c.isascii() and c.isalnum())[:20] or "company"
        return Customer(
            id=self._id("customer", n),
            company_name=company,
            contact_name=fake.name(),
            email=f"office@{word}{n}.example" if draw.random() < 0.9 else None,
            phone=fake.phone_number() if draw.random() < 0.8 else None,
            address=fake.street_address(),
            city=city.name,
            country=city.country,
            industry=draw.choice(INDUSTRIES),
            size=draw.choice(("micro", "small", "medium", "large", "enterprise")),
            status=draw.choices(("lead", "prospect", "active", "inactive"), (2, 2, 5, 1))[0],
            assigned_to=draw.choice(self._users) if draw.random() < 0.7 else None,
            location=Point(round(city.lat + draw.gauss(0, 0.05), 6), round(city.lon + draw.gauss(0, 0.05), 6)),
            tags=tuple(sorted(draw.sample([name for name, _ in TAGS], draw.choice((0, 0, 1, 2))))),
        )

    def _deal(self, n: int, customers: int) -> Deal:
        draw = self._random
        label, probability, kind = draw.choice(STAGES)
        return Deal(
            id=self._id("deal", n),
            title=f"{draw.choice(('Licences', 'Roll-out', 'Support plan', 'Training', 'Renewal'))} {n + 1}",
            customer_id=self._any_customer(customers),
            stage_id=self._id("stage", label),
            amount=Decimal(draw.randint(5, 900)) * 100 + Decimal(draw.randint(0, 99)) / 100,
            currency=draw.choice(CITIES).currency,
            probability=probability,
            expected_close=self._day(-180, 180).date(),
            assigned_to=draw.choice(self._users),
            lost_reason="price" if kind == "lost" else None,
        )

    def _ticket(self, n: int, customers: int) -> Ticket:
        draw = self._random
        subject, category = draw.choice(PROBLEMS)
        status = draw.choices(("open", "in_progress", "waiting", "resolved", "closed"), (4, 3, 2, 2, 1))[0]
        return Ticket(
            id=self._id("ticket", n),
            subject=subject,
            customer_id=self._any_customer(customers),
            status=status,  # type: ignore[arg-type]  # choices gives back what it was given
            priority=draw.choices(("low", "normal", "high", "urgent"), (2, 5, 2, 1))[0],
            category=category,
            assigned_to=draw.choice(self._users) if draw.random() < 0.8 else None,
            due_at=self._day(-5, 20),
            resolved_at=self._day(-30, -1) if status in ("resolved", "closed") else None,
        )

    def _comment(self, n: int) -> Comment:
        return Comment(
            id=self._id("comment", n),
            ticket_id=self._id("ticket", n),
            body=self._random.choice(ANSWERS),
            internal=self._random.random() < 0.2,
        )

    def _contract(self, n: int, customers: int) -> Contract:
        draw = self._random
        start = self._day(-700, -10)
        end = start + timedelta(days=draw.choice((365, 730, 1095)))
        status = draw.choice(("draft", "active", "active", "active")) if end > self._now else "expired"
        return Contract(
            id=self._id("contract", n),
            customer_id=self._any_customer(customers),
            title=f"{draw.choice(('Service', 'Licence', 'Maintenance'))} agreement {n + 1}",
            status=status,  # type: ignore[arg-type]  # one of the choices above
            value=Decimal(draw.randint(10, 500)) * 100,
            currency=draw.choice(CITIES).currency,
            start_date=start.date(),
            end_date=end.date(),
            renewal=draw.choice(("none", "manual", "automatic")),
            signed_at=start if status != "draft" else None,
        )

    def _notification(self, n: int) -> Notification:
        draw = self._random
        return Notification(
            id=self._id("notification", n),
            user_id=self._users[n % len(self._users)],
            kind=draw.choice(("deal", "ticket", "contract")),
            title=draw.choice(("A deal was won", "A ticket is overdue", "A contract ends next month")),
            read_at=self._day(-3, -1) if draw.random() < 0.3 else None,
        )
