"""Believable records of a tenant, drawn from a seed: the same seed, tenant and day, the same records."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from hashlib import sha256
from random import Random
from typing import Any, Final, Literal, get_args

from interlock.contract import Identity, Point, Record
from interlock.entities.contract import Contract, ContractStatus, Renewal
from interlock.entities.customer import Customer, CustomerSize, Tag
from interlock.entities.deal import Deal, Stage
from interlock.entities.file import File
from interlock.entities.notification import Notification
from interlock.entities.ticket import Comment, Ticket, TicketPriority, TicketStatus
from interlock.entities.user import User, UserRole
from interlock.errors import Misconfigured
from interlock.seed import words
from interlock.seed.ids import fixed_id
from interlock.seed.places import PLACES, Place

__all__ = ["Batch", "file_content", "generate"]

Batch = tuple[Identity, str, tuple[Record, ...]]
"""Who writes, which resource, the rows to create."""

BATCH: Final = 500
COLLEAGUES: Final = 5

_STATUSES: Final = ("lead", "prospect", "active", "active", "active", "inactive")
_SIZES: Final[tuple[CustomerSize, ...]] = ("micro", "small", "small", "medium", "medium", "large", "enterprise")
_PRIORITIES: Final[tuple[TicketPriority, ...]] = ("low", "normal", "normal", "normal", "high", "urgent")
_WORTH: Final = {"micro": 1, "small": 3, "medium": 12, "large": 40, "enterprise": 120}


def generate(seed: int, tenants: Sequence[Identity], size: int, *, today: date | None = None) -> Iterator[Batch]:
    """The records of each tenant, in an order in which every reference's target comes first.

    `tenants` are the admins who write them; `size` is the number of customers of each. Dates lie around `today`. Needs Faker: raises
    `Misconfigured` without it.
    """
    for admin in tenants:
        yield from _Tenant(seed, admin, size, today or datetime.now(UTC).date()).batches()


def file_content(file: File) -> bytes:
    """The bytes of a generated file."""
    return next(content for name, _, content in words.FILES if name == file.name).encode()


class _Names:
    """Faker, one for each locale, all drawn from one seed."""

    def __init__(self, seed: str) -> None:
        try:
            from faker import Faker
        except ImportError as error:
            raise Misconfigured(["demo data needs Faker; install interlock[seed]"]) from error
        self._by_locale = {locale: Faker(locale) for locale in sorted({place.locale for place in PLACES} | {"en_US"})}
        for locale, names in self._by_locale.items():
            names.seed_instance(f"{seed}/{locale}")

    def of(self, locale: str) -> Any:
        return self._by_locale[locale]


class _Tenant:
    def __init__(self, seed: int, admin: Identity, size: int, today: date) -> None:
        self.admin = admin
        self.size = size
        self.today = today
        self.seed = f"{seed}/{admin.tenant_id}"
        self.names = _Names(self.seed)
        self.customers: list[tuple[Customer, Place]] = []
        self.users: list[str] = []
        self.tickets: list[Ticket] = []

    def batches(self) -> Iterator[Batch]:
        makers: tuple[tuple[str, Callable[[Random], Iterable[Record]]], ...] = (
            ("users", self._colleagues),
            ("tags", self._tags),
            ("stages", self._stages),
            ("customers", self._customers),
            ("deals", self._deals),
            ("tickets", self._tickets),
            ("comments", self._comments),
            ("contracts", self._contracts),
            ("notifications", self._notifications),
            ("files", self._files),
        )
        for resource, maker in makers:
            rows = tuple(maker(Random(f"{self.seed}/{resource}")))  # noqa: S311 - demo data, not secrets
            for start in range(0, len(rows), BATCH):
                yield self.admin, resource, rows[start : start + BATCH]

    def _id(self, resource: str, number: int) -> str:
        return fixed_id(f"{self.seed}/{resource}", number)

    def _kept_id(self, resource: str, number: int) -> str:
        """An id that does not depend on the seed, for what every seed makes alike."""
        return fixed_id(f"{self.admin.tenant_id}/{resource}", number)

    def _day(self, random: Random, first: int, last: int) -> date:
        return self.today + timedelta(days=random.randint(first, last))

    def _moment(self, random: Random, first: int, last: int) -> datetime:
        office_hours = time(random.randint(8, 17), random.randrange(60), tzinfo=UTC)
        return datetime.combine(self._day(random, first, last), office_hours)

    def _colleagues(self, random: Random) -> Iterator[User]:
        names = self.names.of("en_US")
        domain = self.admin.email.partition("@")[2] or "demo.test"
        roles: tuple[UserRole, ...] = ("manager", "agent", "agent", "agent", "viewer")
        for number in range(COLLEAGUES):
            first, last = names.first_name(), names.last_name()
            user_id = self._kept_id("users", number)
            self.users.append(user_id)
            email = f"{_ascii(first)}.{_ascii(last)}.{number + 1}@{domain}"
            yield User(id=user_id, email=email, display_name=f"{first} {last}", role=roles[number])

    def _tags(self, random: Random) -> Iterator[Tag]:
        for number, (name, color) in enumerate(words.TAGS):
            yield Tag(id=self._kept_id("tags", number), name=name, color=color)

    def _stages(self, random: Random) -> Iterator[Stage]:
        for number, (label, probability, kind) in enumerate(words.STAGES):
            yield Stage(
                id=self._kept_id("stages", number),
                label=label,
                position=number * 10,
                probability=probability,
                type=kind,  # type: ignore[arg-type]  # the words are the choices, and the tests check every row
            )

    def _customers(self, random: Random) -> Iterator[Customer]:
        for number in range(self.size):
            place = random.choice(PLACES)
            names = self.names.of(place.locale)
            company, first, last = names.company(), names.first_name(), names.last_name()
            customer = Customer(
                id=self._id("customers", number),
                company_name=company,
                contact_name=f"{first} {last}",
                email=f"{_ascii(first)}.{_ascii(last)}.{number + 1}@{_ascii(company)}.example",
                phone=names.phone_number(),
                address=names.street_address().replace("\n", ", "),
                city=place.city,
                country=place.country,
                industry=random.choice(words.INDUSTRIES),
                size=random.choice(_SIZES),
                status=random.choice(_STATUSES),
                notes=random.choice(words.NOTES) if random.random() < 0.4 else None,
                assigned_to=random.choice(self.users) if random.random() < 0.8 else None,
                location=Point(
                    round(place.lat + random.uniform(-0.08, 0.08), 5), round(place.lon + random.uniform(-0.12, 0.12), 5)
                ),
                tags=tuple(sorted(name for name, _ in random.sample(words.TAGS, random.choice((0, 0, 1, 1, 2))))),
            )
            self.customers.append((customer, place))
            yield customer

    def _amount(self, random: Random, customer: Customer) -> Decimal:
        return (
            Decimal(random.randint(8, 60) * _WORTH[customer.size or "small"] * 50)
            + Decimal(random.choice((0, 90))) / 100
        )

    def _deals(self, random: Random) -> Iterator[Deal]:
        for number in range(self.size * 3 // 2 if self.customers else 0):
            customer, place = random.choice(self.customers)
            position = random.randrange(len(words.STAGES))
            _, probability, kind = words.STAGES[position]
            closed = kind in ("won", "lost")
            yield Deal(
                id=self._id("deals", number),
                title=f"{random.choice(words.DEALS)} for {customer.company_name}"[:200],
                customer_id=customer.id,
                stage_id=self._kept_id("stages", position),
                amount=self._amount(random, customer),
                currency=place.currency,
                probability=probability,
                expected_close=self._day(random, -360, -1) if closed else self._day(random, 3, 180),
                assigned_to=customer.assigned_to,
                lost_reason=random.choice(words.LOST_REASONS) if kind == "lost" else None,
            )

    def _tickets(self, random: Random) -> Iterator[Ticket]:
        statuses: tuple[TicketStatus, ...] = get_args(TicketStatus)
        for number in range(self.size if self.customers else 0):
            category, subject, description = random.choice(words.TICKETS)
            customer, _ = random.choice(self.customers)
            status = random.choice(statuses)
            due = self._moment(random, -20, 20)
            ticket = Ticket(
                id=self._id("tickets", number),
                subject=subject,
                description=description,
                customer_id=customer.id,
                status=status,
                priority=random.choice(_PRIORITIES),
                category=category,
                assigned_to=random.choice(self.users) if status != "open" else None,
                due_at=due,
                resolved_at=self._moment(random, -40, -1) if status in ("resolved", "closed") else None,
            )
            self.tickets.append(ticket)
            yield ticket

    def _comments(self, random: Random) -> Iterator[Comment]:
        number = 0
        for ticket in self.tickets:
            for body in random.sample(words.COMMENTS, random.randrange(4)):
                yield Comment(
                    id=self._id("comments", number), ticket_id=ticket.id, body=body, internal=random.random() < 0.2
                )
                number += 1

    def _contracts(self, random: Random) -> Iterator[Contract]:
        renewals: tuple[Renewal, ...] = get_args(Renewal)
        for number in range(self.size // 2):
            customer, place = random.choice(self.customers)
            start = self._day(random, -700, 60)
            end = start + timedelta(days=random.choice((182, 365, 730)))
            status = self._contract_status(random, start, end)
            signed = datetime.combine(start - timedelta(days=14), time(10), tzinfo=UTC)
            yield Contract(
                id=self._id("contracts", number),
                customer_id=customer.id,
                title=f"{random.choice(words.CONTRACTS)}, {customer.company_name}"[:200],
                status=status,
                value=self._amount(random, customer),
                currency=place.currency,
                start_date=start,
                end_date=end,
                renewal=random.choice(renewals),
                signed_at=None if status == "draft" else signed,
            )

    def _contract_status(self, random: Random, start: date, end: date) -> ContractStatus:
        if start > self.today:
            return "draft"
        if end < self.today:
            return "expired"
        return "terminated" if random.random() < 0.1 else "active"

    def _notifications(self, random: Random) -> Iterator[Notification]:
        for number in range(3 * len(self.users)):
            kind, title, link = random.choice(words.NOTIFICATIONS)
            read: Literal[True, False] = random.random() < 0.5
            yield Notification(
                id=self._id("notifications", number),
                user_id=self.admin.user_id if number % 3 == 0 else self.users[number % len(self.users)],
                kind=kind,
                title=title,
                link=link,
                read_at=self._moment(random, -10, -1) if read else None,
            )

    def _files(self, random: Random) -> Iterator[File]:
        for number, (name, content_type, content) in enumerate(words.FILES):
            raw = content.encode()
            owner = self.customers[0][0].id if number == 0 and self.customers else None
            yield File(
                id=self._kept_id("files", number),
                name=name,
                content_type=content_type,
                size=len(raw),
                sha256=sha256(raw).hexdigest(),
                owner_resource="customers" if owner else None,
                owner_id=owner,
            )


def _ascii(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "x"
