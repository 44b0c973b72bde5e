"""Customers: who they are, their tags, where they are, and making one of two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

import anyio.to_thread
import msgspec

from interlock.contract import DEFAULT_LIMIT, MAX_LIMIT, Near, Page
from interlock.entities.customer import CUSTOMERS, Customer, Tag
from interlock.entity import fold
from interlock.errors import Duplicate, Invalid, NotFound
from interlock.identifiers import new_id
from interlock.services.base import Context, EntityService
from interlock.services.duplicates import MAX_SCANNED, DuplicatePair, Fingerprint, fingerprint, pairs
from interlock.services.figures import figures
from interlock.services.policy import check
from interlock.services.rules import RuledService, retrying

if TYPE_CHECKING:
    from interlock.services.transfer import Format, Report

__all__ = ["Customers", "MergeResult", "Tags", "Tally"]

_FILLED: Final = tuple(sorted(CUSTOMERS.writable - {"id", "email", "tags", "company_name", "status"}))
"""The fields whose holes a merge fills; e-mail and tags have their own ways."""

MAX_LOSERS: Final = 100

_REMEMBERED: Final = timedelta(minutes=1)


class Tally(msgspec.Struct, frozen=True, rename="camel"):
    """A value that occurs, and how often."""

    value: str
    count: int


class MergeResult(msgspec.Struct, frozen=True, rename="camel"):
    """What a merge made: the customer that stays, and how many records of each resource were moved to it by this call."""

    winner: Customer
    merged: tuple[str, ...]
    moved: dict[str, int]


class Tags(RuledService[Tag]):
    """The tags. One that customers carry keeps its name and stays."""

    _ruled: ClassVar[frozenset[str]] = frozenset({"name"})

    async def _rule(self, current: Tag, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        if patch.get("name", current.name) != current.name:
            await self._check_unused(current)
        return patch

    async def _check_delete(self, ids: tuple[str, ...]) -> None:
        for tag in await self.get_many(ids):
            await self._check_unused(tag)

    async def _check_unused(self, tag: Tag) -> None:
        if (await self.context.services.customers.list(tags__contains=tag.name, limit=1)).items:
            raise Invalid({"name": f"customers carry the tag {tag.name!r}; untag them first"})


class Customers(EntityService[Customer]):
    """Customers. Their tags are names of `Tag` records: a new name makes a record, and its spelling is the record's."""

    parts: ClassVar[Mapping[str, type[EntityService[Any]]]] = MappingProxyType({"tags": Tags})

    def __init__(self, context: Context) -> None:
        super().__init__(CUSTOMERS, context)
        self._spellings: dict[str, str] = {}
        self._known_at = datetime.min.replace(tzinfo=UTC)

    # -- tags -----------------------------------------------------------------------------------------------------

    async def tags(self) -> tuple[Tag, ...]:
        """All tags of the tenant, by name."""
        return tuple([tag async for tag in self._tags.iterate(sort="name")])

    async def create_tag(self, name: str, color: str = "#808080", *, operation_id: str | None = None) -> Tag:
        """A new tag. Raises `Duplicate` where one has this name in any case."""
        tag: Tag = await self._tags.create(name=name, color=color, operation_id=operation_id)
        return tag

    async def tag(self, id: str, *names: str) -> Customer:
        """The customer with these tags too. Tags that do not exist yet are made."""

        def added(customer: Customer) -> tuple[str, ...]:
            return _union(customer.tags, names)

        return await self._retag(id, added)

    async def untag(self, id: str, *names: str) -> Customer:
        """The customer without these tags, in whatever case."""
        gone = {fold(name) for name in names}

        def removed(customer: Customer) -> tuple[str, ...]:
            return tuple(name for name in customer.tags if fold(name) not in gone)

        return await self._retag(id, removed)

    # -- figures --------------------------------------------------------------------------------------------------

    async def industries(self) -> tuple[Tally, ...]:
        """The industries that occur, by name, with the number of customers in each."""
        return await self._tally("industry")

    async def sizes(self) -> tuple[Tally, ...]:
        """The company sizes that occur, by name, with the number of customers of each."""
        return await self._tally("size")

    async def nearby(self, lat: float, lon: float, km: float, *, limit: int = DEFAULT_LIMIT) -> Page[Customer]:
        """Customers within `km` kilometres of a point (degrees), the nearest first."""
        return await self.list(near=Near(lat, lon, km), limit=limit, count="exact")

    async def _tally(self, field: str) -> tuple[Tally, ...]:
        groups = await figures(self, (field,))
        return tuple(Tally(group.key[0], group.values[0]) for group in groups if group.key[0] is not None)

    # -- import and export ----------------------------------------------------------------------------------------

    async def import_(self, source: Any, **options: Any) -> Report:
        """Create customers from CSV, JSON or XLSX. Options and report: `interlock.services.transfer.import_rows`."""
        from interlock.services.transfer import import_rows

        check(self.context.identity, self.entity.resource, "import")
        return await import_rows(self, source, **options)

    def export(self, fmt: Format, **options: Any) -> AsyncIterator[bytes]:
        """The bytes of a CSV, JSON or XLSX file, streamed. Options: `interlock.services.transfer.export_rows`."""
        from interlock.services.transfer import export_rows

        check(self.context.identity, self.entity.resource, "export")
        return export_rows(self, fmt, **options)

    # -- duplicates -----------------------------------------------------------------------------------------------

    async def find_duplicates(self, *, limit: int = 100, threshold: float = 0.85) -> tuple[DuplicatePair, ...]:
        """Pairs of customers that may be the same, the likeliest first.

        Compared are folded names without accents and legal forms, e-mail addresses and telephone numbers; `score` is from
        0 to 1. Scans the newest `MAX_SCANNED` customers, and compares `MAX_PAIRS` pairs of those that begin alike.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise Invalid({"limit": f"is {limit}; give 1 to {MAX_LIMIT}"})
        if not 0.5 <= threshold <= 1:
            raise Invalid({"threshold": f"is {threshold}; give 0.5 to 1"})
        seen: list[Fingerprint] = []
        async for customer in self.iterate():
            seen.append(fingerprint(customer))
            if len(seen) >= MAX_SCANNED:
                break
        return await anyio.to_thread.run_sync(pairs, seen, limit, threshold)

    # -- merge ----------------------------------------------------------------------------------------------------

    async def merge(self, winner: str, losers: Sequence[str], *, operation_id: str | None = None) -> MergeResult:
        """Make one customer of several.

        What refers to a loser refers to the winner from now on; the winner takes over tags, and what it has no value for, from
        the losers in their order; the losers are deleted. Where it was interrupted, the same call with the same `operation_id`
        goes on; once done, it changes nothing. Raises `Invalid`, `NotFound`.
        """
        check(self.context.identity, self.entity.resource, "merge")
        wanted = _losers(winner, losers)
        operation = operation_id or new_id()
        kept = await self.get(winner)
        found = {row.id: row for row in await self.get_many(wanted, deleted="with")}
        for loser in wanted:
            if loser not in found:
                raise NotFound(self.entity.resource, loser)
            if found[loser].deleted_at is not None:  # by this merge, when it ran before, or it is not there
                await self.delete(loser, operation_id=f"{operation}/delete/{loser}")
        moved = await self._move_references(winner, wanted)
        present = [found[loser] for loser in wanted if found[loser].deleted_at is None]
        if present:
            kept = await self._fill(winner, present)
        for row in present:
            await self.delete(row.id, operation_id=f"{operation}/delete/{row.id}")
        await self._take_email(kept, [found[loser] for loser in wanted], f"{operation}/email")
        for resource, count in (await self._move_references(winner, wanted)).items():
            moved[resource] = moved.get(resource, 0) + count
        return MergeResult(await self.get(winner), wanted, moved)

    async def _fill(self, winner: str, losers: Iterable[Customer]) -> Customer:
        rows = tuple(losers)

        async def filled(current: Customer) -> Mapping[str, Any]:
            patch: dict[str, Any] = {}
            for name in _FILLED:
                value = next((value for row in rows if (value := getattr(row, name)) is not None), None)
                if getattr(current, name) is None and value is not None:
                    patch[name] = value
            tags = _union(current.tags, [tag for row in rows for tag in row.tags])
            if tags != current.tags:
                patch["tags"] = tags
            return patch

        return await retrying(self, winner, filled)

    async def _take_email(self, winner: Customer, losers: Iterable[Customer], operation_id: str) -> None:
        """An e-mail address is unique, so it is free only once the loser is deleted."""
        email = next((row.email for row in losers if row.email is not None), None)
        if winner.email is None and email is not None:
            with suppress(Duplicate):  # somebody else took it meanwhile
                await self.update(winner.id, email=email, operation_id=operation_id)

    async def _move_references(self, winner: str, losers: tuple[str, ...]) -> dict[str, int]:
        moved: dict[str, int] = {}
        for entity in self.context.entities.values():
            if entity.internal or entity.append_only:
                continue
            for reference in entity.references:
                if reference.resource == self.entity.resource:
                    service = self.context.services.of(entity.resource)
                    count = await _moved(service, {f"{reference.field}__in": losers}, {reference.field: winner})
                    moved[entity.resource] = moved.get(entity.resource, 0) + count
            if entity.resource == "files":
                files = self.context.services.files
                owned = {"owner_resource": self.entity.resource, "owner_id__in": losers}
                moved["files"] = await _moved(files, owned, {"owner_id": winner})
        return moved

    # -- rules ----------------------------------------------------------------------------------------------------

    async def _before_create(self, rows: tuple[Customer, ...]) -> tuple[Customer, ...]:
        if not any(row.tags for row in rows):
            return rows
        await self._know(name for row in rows for name in row.tags)
        return tuple(msgspec.structs.replace(row, tags=self._spelled(row.tags)) for row in rows)

    async def _check_update(self, ids: tuple[str, ...], patch: Mapping[str, Any]) -> Mapping[str, Any]:
        if not patch.get("tags"):
            return patch
        await self._know(patch["tags"])
        return {**patch, "tags": self._spelled(patch["tags"])}

    def _spelled(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._spellings[fold(name)] for name in names))

    async def _know(self, names: Iterable[str]) -> None:
        """Make the tags that do not exist yet. How they are spelt is remembered for a minute, for imports' sake."""
        now = self.context.now()
        wanted = {fold(name): name for name in reversed(tuple(names))}
        if now - self._known_at < _REMEMBERED and wanted.keys() <= self._spellings.keys():
            return
        self._spellings = {fold(tag.name): tag.name for tag in await self.tags()}
        self._known_at = now
        for folded in sorted(wanted.keys() - self._spellings.keys()):
            try:
                self._spellings[folded] = (await self.create_tag(wanted[folded])).name
            except Duplicate:  # somebody else made it at the same time
                self._spellings.update({fold(tag.name): tag.name for tag in await self.tags()})

    @property
    def _tags(self) -> EntityService[Tag]:
        return self.context.services.of("tags")

    async def _retag(self, id: str, names: Callable[[Customer], tuple[str, ...]]) -> Customer:
        async def patch(customer: Customer) -> Mapping[str, Any]:
            tags = names(customer)
            return {} if tags == customer.tags else {"tags": tags}

        return await retrying(self, id, patch)


def _union(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    """Both, without a name twice in whatever case; the first spelling stays."""
    spelled: dict[str, str] = {}
    for name in (*first, *second):
        spelled.setdefault(fold(name), name)
    return tuple(spelled.values())


def _losers(winner: str, losers: Sequence[str]) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(losers))
    if not wanted or isinstance(losers, str):
        raise Invalid({"losers": "is empty; give the ids of the customers to merge into the winner"})
    if winner in wanted:
        raise Invalid({"losers": "has the winner among them; leave it out"})
    if len(wanted) > MAX_LOSERS:
        raise Invalid({"losers": f"has more than {MAX_LOSERS} customers; merge in several calls"})
    return wanted


async def _moved(service: EntityService[Any], found_by: Mapping[str, Any], patch: Mapping[str, Any]) -> int:
    """How many records were found and patched, a page at a time; those that vanish meanwhile do not count."""
    moved = 0
    while True:
        page = await service.list(limit=MAX_LIMIT, sort="id", **found_by)
        if not page.items:
            return moved
        outcomes = await service.bulk_update([row.id for row in page.items], patch)
        for outcome in outcomes:
            if outcome.error is not None and not isinstance(outcome.error, NotFound):
                raise outcome.error
        done = sum(outcome.ok for outcome in outcomes)
        moved += done
        if not done:
            return moved
