"""The routes of every entity: list, one, create, change, delete, restore."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from interlock.contract import Page, Record
from interlock.entity import Entity
from interlock.errors import Invalid
from interlock.gateway.bodies import values_of
from interlock.gateway.calls import Call
from interlock.gateway.params import Listing, flag_deleted, listing_of, split_query
from interlock.gateway.problems import Refused
from interlock.gateway.replies import JSON, Headers, Reply
from interlock.services import EntityService, Services

__all__ = ["Lists", "create", "delete", "find_by_body", "one", "record_reply", "restore", "update"]

_encode = msgspec.json.Encoder().encode

REMEMBERED: Final = 512
LONGEST_REMEMBERED: Final = 400


class Lists:
    """Answers the lists of one entity. Query strings seen lately are not parsed again."""

    def __init__(self, entity: Entity[Any]) -> None:
        self.entity = entity
        self._unit = entity.resource.encode()
        self._parsed: dict[bytes, Listing] = {}

    def listing(self, raw: bytes) -> Listing:
        """What a query string asks for."""
        found = self._parsed.get(raw)
        if found is None:
            found = listing_of(self.entity, split_query(raw))
            if len(raw) <= LONGEST_REMEMBERED:
                if len(self._parsed) >= REMEMBERED:
                    self._parsed.clear()
                self._parsed[raw] = found
        return found

    async def answer(self, services: Services, listing: Listing) -> Reply:
        """The rows as an array; how many there are in all, and where the next page begins, in headers."""
        service = services.of(self.entity.resource)
        headers: Headers = [JSON]
        if listing.ids is not None:
            rows = await service.get_many(_clean(listing.ids), deleted=listing.query.deleted)
            self._count(headers, 0, len(rows), len(rows))
            return Reply(200, headers, _encode(rows))
        page = await self._found(service, listing)
        if page.total is not None:
            self._count(headers, listing.query.offset, len(page.items), page.total)
        if page.next_cursor is not None:
            headers.append((b"x-next-cursor", page.next_cursor.encode()))
        return Reply(200, headers, _encode(page.items))

    async def _found(self, service: EntityService[Any], listing: Listing) -> Page[Any]:
        if listing.query.cursor is None:
            return await service.find(listing.query)
        try:
            return await service.find(listing.query)
        except Invalid as error:
            raise Refused({f"_{name}": text for name, text in error.fields.items()}) from error

    def _count(self, headers: Headers, start: int, rows: int, total: int) -> None:
        headers.append((b"x-total-count", b"%d" % total))
        if rows:
            headers.append((b"content-range", b"%b %d-%d/%d" % (self._unit, start, start + rows - 1, total)))
        else:
            headers.append((b"content-range", b"%b */%d" % (self._unit, total)))


def _clean(ids: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(item for item in ids if 0 < len(item) <= 200 and item.isprintable())


def etag(record: Record) -> tuple[bytes, bytes]:
    """The version as a header."""
    return (b"etag", b'"%d"' % record.version)


def record_reply(record: Record, status: int = 200, headers: Headers | None = None) -> Reply:
    """One record with its version."""
    return Reply(status, [JSON, etag(record), *(headers or ())], _encode(record))


async def one(call: Call) -> Reply:
    """GET one record; 304 where the caller has this version."""
    deleted = flag_deleted(call.query)
    record = await call.service.get(call.id, deleted=deleted)
    known = call.header(b"if-none-match")
    if known is not None and f'"{record.version}"' in known.replace("W/", "").replace(" ", "").split(","):
        return Reply(304, [etag(record)])
    return record_reply(record)


async def find_by_body(call: Call) -> Reply:
    """POST _find: a list whose parameters are too long for an address."""
    body = await call.json()
    if not isinstance(body, dict):
        raise Refused({"body": "is not a JSON object of parameters"})
    wrong = {name: "is not a text" for name, value in body.items() if not isinstance(value, str)}
    if wrong:
        raise Refused(wrong)
    return await Lists(call.entity).answer(call.services, listing_of(call.entity, list(body.items())))


async def create(call: Call) -> Reply:
    """POST a record: 201 with its place and what it became."""
    call.no_query()
    values = values_of(call.entity, await call.json(), patch=False)
    record = await call.service.create(values, operation_id=call.operation_id)
    location = f"{call.edge.prefix}/{call.entity.resource}/{record.id}".encode()
    return record_reply(record, 201, [(b"location", location)])


async def update(call: Call) -> Reply:
    """PATCH or PUT: what is absent stays, null clears."""
    call.no_query()
    patch = values_of(call.entity, await call.json(), patch=True)
    return record_reply(
        await call.service.update(
            call.id, patch, expected_version=call.expected_version, operation_id=call.operation_id
        )
    )


async def delete(call: Call) -> Reply:
    """DELETE: the record as deleted."""
    call.no_query()
    await call.body()
    return record_reply(
        await call.service.delete(call.id, expected_version=call.expected_version, operation_id=call.operation_id)
    )


async def restore(call: Call) -> Reply:
    """POST restore: the record, no longer deleted."""
    call.no_query()
    await call.body()
    return record_reply(
        await call.service.restore(call.id, expected_version=call.expected_version, operation_id=call.operation_id)
    )
