"""Many records in one call: bulk writes and gets, aggregates, and exact images for replication."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from interlock.contract import GroupBy, Measure, Outcome, Record, Request
from interlock.entity import Entity
from interlock.errors import InterlockError, Invalid
from interlock.gateway.bodies import filter_of, object_of, values_of
from interlock.gateway.calls import Call, clean_id
from interlock.gateway.problems import Refused, problem
from interlock.gateway.replies import Reply, json_reply
from interlock.services.policy import check
from interlock.validation import check_value, suggest

__all__ = ["aggregate", "bulk", "put"]

MOST: Final = 10_000
VERBS: Final = ("create", "update", "delete", "restore", "get")


async def bulk(call: Call) -> Reply:
    """POST _bulk: one outcome per item, in order; for `get` the rows that are there."""
    call.no_query()
    entity = call.entity
    known: dict[str, type | tuple[type, ...]] = {
        "verb": str, "rows": list, "ids": list, "patch": dict, "expectedVersion": int, "deleted": str,
    }  # fmt: skip
    body = object_of(await call.json(), known)
    verb = body.get("verb")
    if verb not in VERBS:
        raise Refused({"verb": f"is not one of {', '.join(VERBS)}{suggest(str(verb), VERBS)}"})
    expected = body.get("expectedVersion")
    if verb == "get":
        deleted: Any = body.get("deleted", "without")
        if deleted not in ("without", "with", "only"):
            raise Refused({"deleted": "is not one of without, with, only"})
        return json_reply({"rows": await call.service.get_many(_ids(entity, body), deleted=deleted)})
    operation, service = call.operation_id, call.service
    if verb == "create":
        outcomes = await _created(call, _listed(body, "rows"))
    elif verb == "update":
        patch = values_of(entity, body.get("patch"), patch=True, name="patch")
        outcomes = await service.bulk_update(
            _ids(entity, body), patch, expected_version=expected, operation_id=operation
        )
    else:
        write = service.bulk_delete if verb == "delete" else service.bulk_restore
        outcomes = await write(_ids(entity, body), expected_version=expected, operation_id=operation)
    return _outcomes(entity, outcomes)


def _listed(body: dict[str, Any], name: str) -> list[Any]:
    items = body.get(name)
    if items is None:
        raise Refused({name: "is required"})
    if len(items) > MOST:
        raise Refused({name: f"has more than {MOST} items; send several calls"})
    return cast("list[Any]", items)


def _ids(entity: Entity[Any], body: dict[str, Any]) -> tuple[str, ...]:
    ids = _listed(body, "ids")
    if not all(isinstance(item, str) and item.isprintable() and 0 < len(item) <= 200 for item in ids):
        raise Refused({"ids": "holds something that is not an id"})
    return tuple(clean_id(entity.resource, item) for item in ids)


async def _created(call: Call, rows: list[Any]) -> tuple[Outcome, ...]:
    """A row that is no object of fields fails alone, as any bad row does."""
    outcomes: dict[int, Outcome] = {}
    good: dict[int, dict[str, Any]] = {}
    for place, row in enumerate(rows):
        try:
            good[place] = values_of(call.entity, row, patch=False, name="rows")
        except Invalid as error:
            outcomes[place] = Outcome("", error=error)
    written = await call.service.bulk_create(good.values(), operation_id=call.operation_id)
    outcomes.update(zip(good, written, strict=True))
    return tuple(outcomes[place] for place in sorted(outcomes))


def _outcomes(entity: Entity[Any], outcomes: tuple[Outcome, ...]) -> Reply:
    told = [
        {
            "id": outcome.id,
            "row": outcome.row,
            "error": problem(outcome.error, entity) if isinstance(outcome.error, InterlockError) else None,
        }
        for outcome in outcomes
    ]
    return json_reply({"outcomes": told})


# -- aggregates ---------------------------------------------------------------------------------------------------


async def aggregate(call: Call) -> Reply:
    """POST _aggregate: one row per group."""
    call.no_query()
    entity = call.entity
    body = object_of(
        await call.json(), {"filter": dict, "search": str, "deleted": str, "groupBy": list, "measures": list}
    )
    deleted: Any = body.get("deleted", "without")
    where = filter_of(entity, body["filter"], "filter") if "filter" in body else None
    groups = [_group(entity, item) for item in body.get("groupBy", ())]
    measures = [_measure(entity, item) for item in body.get("measures", ({"op": "count"},))]
    rows = await call.service.aggregate(groups, measures, where, search=body.get("search"), deleted=deleted)
    return json_reply({"groups": [{"key": row.key, "values": row.values} for row in rows]})


def _named(entity: Entity[Any], name: Any) -> str:
    field = entity.by_wire.get(name) if isinstance(name, str) else None
    if field is None:
        raise Refused({str(name)[:100]: f"is not a field of {entity.resource}{suggest(str(name), entity.by_wire)}"})
    return field.name


def _group(entity: Entity[Any], item: Any) -> GroupBy:
    if isinstance(item, str):
        item = {"field": item}
    told = object_of(item, {"field": str, "bucket": str}, "groupBy")
    bucket: Any = told.get("bucket")
    if bucket not in (None, "day", "month", "year"):
        raise Refused({"bucket": "is not one of day, month, year"})
    return GroupBy(_named(entity, told.get("field")), bucket)


def _measure(entity: Entity[Any], item: Any) -> Measure:
    told = object_of(item, {"op": str, "field": str}, "measures")
    op: Any = told.get("op")
    if op not in ("count", "sum", "min", "max"):
        raise Refused({"op": "is not one of count, sum, min, max"})
    field = told.get("field")
    if field is None and op != "count":
        raise Refused({"field": f"is required for {op}"})
    return Measure(op, None if field is None else _named(entity, field))


# -- replication --------------------------------------------------------------------------------------------------


async def put(call: Call) -> Reply:
    """POST _put: exact images, under a sequence guard. For Interlock itself."""
    call.no_query()
    entity = call.entity
    check(call.identity, entity.resource, "put")
    body = object_of(await call.json(), {"rows": list, "sequence": int})
    sequence = body.get("sequence", 0)
    if sequence < 0:
        raise Refused({"sequence": "is below 0"})
    rows = tuple(_image(entity, call.identity.tenant_id, item) for item in _listed(body, "rows"))
    route = call.services.route(entity.service)
    answer = await route.handle(
        Request(
            "put",
            entity.resource,
            call.identity,
            rows=rows,
            sequence=sequence,
            operation_id=call.operation_id or "",
            epoch=route.epoch,
        )
    )
    return _outcomes(entity, answer.outcomes)


def _image(entity: Entity[Any], tenant: str, item: Any) -> Record:
    if not isinstance(item, dict):
        raise Invalid({"rows": "holds something that is not an object"})
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for key, value in item.items():
        field = entity.by_wire.get(key)
        if field is None:
            problems[key] = f"is not a field of {entity.resource}"
            continue
        try:
            values[field.name] = check_value(field, value, lax=field.kind in ("float", "point"))
        except ValueError as error:
            problems[field.name] = str(error)
    problems |= {
        name: "is required"
        for name, field in entity.fields.items()
        if name not in values and name not in problems and (field.required or name in ("id", "tenant_id", "version"))
    }
    if values.get("tenant_id", tenant) != tenant:
        problems["tenant_id"] = "is not the caller's"
    if problems:
        raise Invalid(problems)
    try:
        return cast("Record", entity.record(**values))
    except (TypeError, msgspec.ValidationError) as error:
        raise Invalid({"rows": str(error)}) from error
