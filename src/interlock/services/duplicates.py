"""Finding customers that may be the same: by e-mail address, telephone number and similar names, within bounds."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import chain, combinations, islice
from typing import Final

import msgspec

from interlock.entities.customer import Customer
from interlock.entity import fold

__all__ = ["MAX_SCANNED", "DuplicatePair", "Fingerprint", "fingerprint", "pairs"]

MAX_SCANNED: Final = 50_000
"""How many customers one search looks at."""

MAX_BLOCK: Final = 200
"""How many customers that begin alike are compared with one another; the rest of a larger block only by exact keys."""

MAX_PAIRS: Final = 200_000
"""How many pairs are compared in all: those of an equal key first, then those that begin alike."""

_BEGIN: Final = 4
_PHONE_DIGITS: Final = 7
_WORDS = re.compile(r"[^\W_]+")
_LEGAL_FORMS: Final = frozenset(
    [
        "ab",
        "ag",
        "as",
        "bv",
        "co",
        "company",
        "corp",
        "corporation",
        "gmbh",
        "inc",
        "incorporated",
        "kg",
        "limited",
        "llc",
        "ltd",
        "nv",
        "oy",
        "plc",
        "sa",
        "sarl",
        "sas",
        "spa",
        "srl",
        "the",
    ]
)


class DuplicatePair(msgspec.Struct, frozen=True, rename="camel"):
    """Two customers that may be the same. `score` is from 0 to 1; `reasons` are of email, phone and name."""

    first_id: str
    second_id: str
    first_name: str
    second_name: str
    score: float
    reasons: tuple[str, ...]


class Fingerprint(msgspec.Struct, frozen=True):
    """What of a customer is compared."""

    id: str
    company_name: str
    name: str
    email: str
    phone: str


def fingerprint(customer: Customer) -> Fingerprint:
    """The comparable form: the name folded, without accents, punctuation and legal forms; the address without dots and +tags."""
    return Fingerprint(
        customer.id,
        customer.company_name,
        _plain_name(customer.company_name),
        _plain_email(customer.email or ""),
        _plain_phone(customer.phone or ""),
    )


def _plain_name(name: str) -> str:
    apart = unicodedata.normalize("NFKD", fold(name))
    words = _WORDS.findall("".join(char for char in apart if not unicodedata.combining(char)))
    return " ".join([word for word in words if word not in _LEGAL_FORMS] or words)


def _plain_email(email: str) -> str:
    local, _, domain = fold(email).rpartition("@")
    return f"{local.partition('+')[0].replace('.', '')}@{domain}" if local else ""


def _plain_phone(phone: str) -> str:
    """The last nine digits, so that a country's prefix does not matter; too few say nothing."""
    digits = "".join(char for char in phone if char.isdecimal())
    return digits[-9:] if len(digits) >= _PHONE_DIGITS else ""


def pairs(seen: Sequence[Fingerprint], limit: int, threshold: float) -> tuple[DuplicatePair, ...]:
    """The likeliest pairs first, then by ids; at most `limit`."""
    candidates: set[tuple[int, int]] = set()
    for keys in (
        [one.email for one in seen],
        [one.phone for one in seen],
        [one.name for one in seen],
        [one.name[:_BEGIN] for one in seen],
    ):
        candidates.update(islice(_within(_blocks(keys)), MAX_PAIRS - len(candidates)))
    compared = (_compare(seen[first], seen[second], threshold) for first, second in candidates)
    found = [pair for pair in compared if pair.score >= threshold]
    found.sort(key=lambda pair: (-pair.score, pair.first_id, pair.second_id))
    return tuple(found[:limit])


def _blocks(keys: Iterable[str]) -> Iterable[list[int]]:
    blocks: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        if key:
            blocks[key].append(place)
    return blocks.values()


def _within(blocks: Iterable[list[int]]) -> Iterable[tuple[int, int]]:
    """The pairs of each block, small blocks first: they say more."""
    return chain.from_iterable(combinations(block[:MAX_BLOCK], 2) for block in sorted(blocks, key=len))


def _compare(one: Fingerprint, other: Fingerprint, threshold: float) -> DuplicatePair:
    first, second = sorted((one, other), key=lambda each: each.id)
    reasons = []
    score = _likeness(first.name, second.name, threshold)
    if score >= 0.85:
        reasons.append("name")
    if first.phone and first.phone == second.phone:
        reasons.append("phone")
        score = max(score, 0.9)
    if first.email and first.email == second.email:
        reasons.append("email")
        score = max(score, 0.95)
    if len(reasons) > 1:
        score = max(score, 0.99)
    return DuplicatePair(first.id, second.id, first.company_name, second.company_name, round(score, 3), tuple(reasons))


def _likeness(one: str, other: str, least: float) -> float:
    """From 0 to 1; 0 where it is below `least`, which is cheap to find out."""
    if one == other:
        return 1.0
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.ratio() if matcher.real_quick_ratio() >= least and matcher.quick_ratio() >= least else 0.0
