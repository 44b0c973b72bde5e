"""The routes of every entity: list, one, create, change, delete, restore."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from interlock.contract import Deleted, Page, Record
from interlock.entity import Entity
from interlock.errors import Invalid
from interlock.gateway.bodies import values_of
from interlock.gateway.calls import Call, Scope, clean_id, header_of
from interlock.gateway.memory import Bodies, Body, Memory
from interlock.gateway.params import Listing, flag_deleted, listing_of, split_query
from interlock.gateway.problems import Refused
from interlock.gateway.replies import JSON, Headers, Reply
from interlock.services import EntityService, Services

__all__ = ["Lists", "create", "delete", "find_by_body", "one", "record_reply", "restore", "update"]

_encode = msgspec.json.Encoder().encode

_STALE: Final = (b"cache-status", b"interlock; hit; detail=stale")
"""RFC 9211: an old answer, in place of a backend that is away."""

REMEMBERED: Final = 1024
LONGEST_REMEMBERED: Final = 400


class Lists:
    """Answers the reads of one entity that are addresses alone. Query strings seen lately are not parsed again, nor pages encoded that a cache gives again."""

    def __init__(self, entity: Entity[Any], bodies: Bodies) -> None:
        self.entity = entity
        self._resource = entity.resource
        self._unit = entity.resource.encode()
        self._bodies = bodies
        self._parsed: Memory[bytes, Listing] = Memory(REMEMBERED)

    def listing(self, raw: bytes) -> Listing:
        """What a query string asks for."""
        found = self._parsed.get(raw)
        if found is None:
            found = listing_of(self.entity, split_query(raw))
            if len(raw) <= LONGEST_REMEMBERED:
                self._parsed.put(raw, found)
        return found

    async def answer(self, services: Services, listing: Listing) -> Reply:
        """The rows as an array; how many there are in all, and where the next page begins, in headers."""
        service = services.of(self._resource)
        if listing.ids is not None:
            rows = await service.get_many(_clean(listing.ids), deleted=listing.query.deleted)
            return Reply(200, self._headers(0, len(rows), len(rows), None), _encode(rows))
        query = listing.query
        page = await (service.find(query) if query.cursor is None else self._found(service, listing))
        rows = page.items
        if not page.cached:
            return Reply(200, self._headers(query.offset, len(rows), page.total, page.next_cursor), _encode(rows))
        body = self._bodies.get(rows, query.offset, page.total, page.next_cursor)
        if body is None:
            headers = self._headers(query.offset, len(rows), page.total, page.next_cursor)
            body = Body(rows, query.offset, page.total, page.next_cursor, headers)
            if rows:
                self._bodies.put(body)
        return Reply(200, [*body.headers, _STALE] if page.stale else body.headers, body.json)

    async def one(self, services: Services, scope: Scope, id: str) -> Reply:
        """One record; 304 where the caller has this version."""
        raw = scope["query_string"]
        deleted: Deleted = flag_deleted(split_query(raw)) if raw else "without"
        record = await services.of(self._resource).get(clean_id(self._resource, id), deleted=deleted)
        known = header_of(scope, b"if-none-match")
        if known is not None and b'"%d"' % record.version in known.replace(b"W/", b"").replace(b" ", b"").split(b","):
            return Reply(304, [etag(record)])
        return record_reply(record)

    async def _found(self, service: EntityService[Any], listing: Listing) -> Page[Any]:
        try:
            return await service.find(listing.query)
        except Invalid as error:
            raise Refused({f"_{name}": text for name, text in error.fields.items()}) from error

    def _headers(self, start: int, rows: int, total: int | None, cursor: str | None) -> Headers:
        headers: Headers = [JSON]
        if total is not None:
            headers.append((b"x-total-count", b"%d" % total))
            if rows:
                headers.append((b"content-range", b"%b %d-%d/%d" % (self._unit, start, start + rows - 1, total)))
            else:
                headers.append((b"content-range", b"%b */%d" % (self._unit, total)))
        if cursor is not None:
            headers.append((b"x-next-cursor", cursor.encode()))
        return headers


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
    return await call.edge.lists(call.entity.resource).one(call.services, call.scope, call.path_params["id"])


async def find_by_body(call: Call) -> Reply:
    """POST _find: a list whose parameters are too long for an address."""
    body = await call.json()
    if not isinstance(body, dict):
        raise Refused({"body": "is not a JSON object of parameters"})
    wrong = {name: "is not a text" for name, value in body.items() if not isinstance(value, str)}
    if wrong:
        raise Refused(wrong)
    return await call.edge.lists(call.entity.resource).answer(
        call.services, listing_of(call.entity, list(body.items()))
    )


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
