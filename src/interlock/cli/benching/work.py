"""The work of a bench: records and calls drawn from a seed, the same for every backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from types import MappingProxyType
from typing import Any, Final

import msgspec

from interlock.contract import Measure

__all__ = ["PAGE", "Kind", "Work", "kind_of"]

PAGE: Final = 50
"""Records that find and search ask for."""

_PLACES: Final = (
    ("Bergen", "Norway"),
    ("Bilbao", "Spain"),
    ("Gdańsk", "Poland"),
    ("Graz", "Austria"),
    ("Lyon", "France"),
    ("Malmö", "Sweden"),
    ("Porto", "Portugal"),
    ("Ulm", "Germany"),
)
_NAMES: Final = (
    "Alder",
    "Birch",
    "Cedar",
    "Elm",
    "Hazel",
    "Juniper",
    "Larch",
    "Maple",
    "Oak",
    "Rowan",
    "Spruce",
    "Yew",
)
_TRADES: Final = ("Foundry", "Freight", "Labs", "Mills", "Optics", "Paper", "Shipping", "Tools")
_SIZES: Final = ("micro", "small", "medium", "large", "enterprise")
_STATUSES: Final = ("lead", "prospect", "active", "inactive")
_CURRENCIES: Final = ("EUR", "SEK", "USD")
_PRIORITIES: Final = ("low", "normal", "high", "urgent")
_DAY: Final = date(2026, 1, 1)

Parents = Mapping[str, str]
"""The id of one record of each resource that the work refers to."""


class Kind(msgspec.Struct, frozen=True):
    """How one resource is worked on.

    `row` makes record number n of random draws, `filters` are those of one find, `words` what is searched for, `patched` the text field that
    updates change, `parents` what must be there first, by resource.
    """

    row: Callable[[Random, int, Parents], dict[str, Any]]
    filters: Callable[[int], Mapping[str, Any]]
    sort: str
    words: tuple[str, ...]
    patched: str
    group_by: tuple[str, ...]
    measures: tuple[Measure, ...]
    parents: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


def _name(random: Random, number: int) -> str:
    return f"{random.choice(_NAMES)} {random.choice(_TRADES)} {number}"


def _customer(random: Random, number: int, parents: Parents) -> dict[str, Any]:
    city, country = random.choice(_PLACES)
    return {
        "company_name": _name(random, number),
        "contact_name": f"{random.choice(_NAMES)} {random.choice(_TRADES)}",
        "email": f"office{number}@bench.example",
        "phone": f"+00 {random.randrange(10**8):08d}",
        "city": city,
        "country": country,
        "industry": random.choice(_TRADES),
        "size": random.choice(_SIZES),
        "status": random.choice(_STATUSES),
        "notes": f"Met at the fair in {city}; asked for {random.choice(_TRADES).lower()}.",
    }


def _deal(random: Random, number: int, parents: Parents) -> dict[str, Any]:
    return {
        "title": _name(random, number),
        "customer_id": parents["customers"],
        "stage_id": parents["stages"],
        "amount": Decimal(random.randrange(10**8)) / 100,
        "currency": random.choice(_CURRENCIES),
        "expected_close": _DAY + timedelta(days=random.randrange(365)),
    }


def _ticket(random: Random, number: int, parents: Parents) -> dict[str, Any]:
    return {
        "subject": _name(random, number),
        "description": f"The {random.choice(_TRADES).lower()} of {random.choice(_NAMES)} stand still.",
        "customer_id": parents["customers"],
        "priority": random.choice(_PRIORITIES),
        "category": random.choice(_TRADES),
    }


def _contract(random: Random, number: int, parents: Parents) -> dict[str, Any]:
    start = _DAY + timedelta(days=random.randrange(365))
    return {
        "title": _name(random, number),
        "customer_id": parents["customers"],
        "value": Decimal(random.randrange(10**8)) / 100,
        "currency": random.choice(_CURRENCIES),
        "start_date": start,
        "end_date": start + timedelta(days=365),
    }


_A_CUSTOMER: Final = MappingProxyType({"company_name": "A customer of the bench"})
_A_STAGE: Final = MappingProxyType({"label": "A stage of the bench", "probability": 20})

_KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "customers": Kind(
            _customer,
            lambda n: {"status": _STATUSES[n % 4]},
            "company_name",
            tuple(f"{name.lower()} {trade[:3].lower()}" for name in _NAMES for trade in _TRADES),
            "notes",
            ("status",),
            (Measure("count"),),
        ),
        "deals": Kind(
            _deal,
            lambda n: {"currency": _CURRENCIES[n % 3]},
            "-amount",
            _NAMES,
            "title",
            ("currency",),
            (Measure("count"), Measure("sum", "amount")),
            MappingProxyType({"customers": _A_CUSTOMER, "stages": _A_STAGE}),
        ),
        "tickets": Kind(
            _ticket,
            lambda n: {"priority": _PRIORITIES[n % 4]},
            "-created_at",
            _NAMES,
            "description",
            ("priority",),
            (Measure("count"),),
            MappingProxyType({"customers": _A_CUSTOMER}),
        ),
        "contracts": Kind(
            _contract,
            lambda n: {"currency": _CURRENCIES[n % 3]},
            "title",
            _NAMES,
            "title",
            ("currency",),
            (Measure("count"), Measure("sum", "value")),
            MappingProxyType({"customers": _A_CUSTOMER}),
        ),
    }
)


def kind_of(resource: str) -> Kind:
    """How a resource is worked on."""
    return _KINDS[resource]


class Work:
    """Call number n of each verb: the same for every backend, whoever calls and in whatever order."""

    def __init__(self, resource: str, seed: int) -> None:
        self.kind = kind_of(resource)
        self._seed = f"{seed}/{resource}"

    def row(self, number: int, parents: Parents) -> dict[str, Any]:
        """Record number n."""
        return self.kind.row(self._random("row", number), number, parents)

    def place(self, number: int, of: int) -> int:
        """Which of so many records call n gets."""
        return self._random("place", number).randrange(of)

    def filters(self, number: int) -> Mapping[str, Any]:
        """What call n finds by."""
        return self.kind.filters(number)

    def word(self, number: int) -> str:
        """What call n searches for."""
        return self._random("word", number).choice(self.kind.words)

    def patch(self, number: int) -> dict[str, Any]:
        """What update n writes: never what is there already."""
        return {self.kind.patched: f"{self._random('patch', number).choice(_NAMES)}, changed {number}"}

    def _random(self, what: str, number: int) -> Random:
        return Random(f"{self._seed}/{what}/{number}")  # noqa: S311  # draws work, no secrets
