"""Random writes and queries, carried out on a backend and on the memory reference: the answers must agree.

`DifferentialConformance` is a class of the suite like the others, in a module of its own because it needs Hypothesis. The
environment variable `CONFORMANCE_EXAMPLES` sets how many scripts are tried; the default tries the same few each time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.contract import (
    Condition,
    Deleted,
    Filter,
    Group,
    GroupBy,
    Measure,
    Near,
    Outcome,
    Point,
    Query,
    Record,
    Request,
    Response,
    Sort,
)
from interlock.entities import AUDIT, ENTITIES, AuditEntry
from interlock.errors import Conflict, Duplicate, InterlockError
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller, Subject
from interlock.testing.samples import SAMPLES, TEST_ENTITIES, Detail
from interlock.validation import check_patch, check_row

__all__ = ["DifferentialConformance", "Step", "scripts"]

EXAMPLES: Final = int(os.environ.get("CONFORMANCE_EXAMPLES", "30"))
PLACES: Final = 8
"""How many records a script knows: few, so that steps meet."""

MASKED: Final = MappingProxyType({"created_at": None, "updated_at": None, "number": 0})
"""What may differ: each backend has its own clock, and numbers may have gaps."""


class Step(msgspec.Struct, frozen=True):
    """One call of a script. Records are named by their place among the script's ids."""

    verb: str
    places: tuple[int, ...] = ()
    values: tuple[dict[str, Any], ...] = ()
    expected_version: int | None = None
    query: Query | None = None
    groups: tuple[GroupBy, ...] = ()
    measures: tuple[Measure, ...] = ()
    repeated: bool = False


# -- values -------------------------------------------------------------------------------------------------------

LETTERS: Final = "aAbBéÉßİ\u0131%_\\'\",.:;(){}[]*&=+#?/ \n\t\U0001f389\U0001d4b3\uffee"
words = st.text(LETTERS, max_size=4)
amounts = st.integers(-100_000, 100_000).map(lambda n: Decimal(n) / 100)
halves = st.integers(-20, 20).map(lambda n: n / 2)
days = st.integers(-400, 400).map(lambda n: date(2026, 1, 1) + timedelta(days=n)) | st.sampled_from(
    [date.min, date.max]
)
moments = st.integers(-(10**14), 10**14).map(lambda n: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=n))
points = st.builds(Point, st.integers(-90, 90).map(float), st.integers(-180, 180).map(float))

VALUES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "label": st.text(LETTERS, min_size=1, max_size=4),
    "code": st.sampled_from(["a", "A", "b", "é"]),
    "email": st.sampled_from(["a@x.test", "A@X.test", "é@x.test", "É@x.test", "b@x.test"]),
    "body_text": words,
    "grade": st.sampled_from(["low", "mid", "high"]),
    "rank": st.integers(-3, 3) | st.sampled_from([2**53 - 1, -(2**53) + 1]),
    "ratio": halves,
    "amount": amounts,
    "currency": st.sampled_from(["EUR", "USD", "CHF"]),
    "weight": amounts,
    "active": st.booleans(),
    "day": days,
    "happened_at": moments,
    "marks": st.lists(st.sampled_from(["a", "A", "a,b", '"', "é"]), max_size=3).map(tuple),
    "place": points,
    "detail": st.builds(Detail, words, st.lists(st.integers(0, 9), max_size=2).map(tuple)),
}
NEVER_NULL: Final = frozenset({"label", "currency", "marks"})
COMPARABLE: Final = tuple(name for name in VALUES if name not in ("marks", "place", "detail"))
TEXTUAL: Final = ("label", "code", "email", "body_text", "grade")


def nullable(name: str) -> st.SearchStrategy[Any]:
    """A value of the field, or null where it may be."""
    return VALUES[name] if name in NEVER_NULL else st.none() | VALUES[name]


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    """Values of a new record."""
    names = draw(st.sets(st.sampled_from([name for name in VALUES if name != "label"]), max_size=8))
    return {"label": draw(VALUES["label"]), **{name: draw(nullable(name)) for name in sorted(names)}}


@st.composite
def patches(draw: st.DrawFn) -> dict[str, Any]:
    """A patch of a few fields."""
    names = draw(st.sets(st.sampled_from(tuple(VALUES)), max_size=3))
    return {name: draw(nullable(name)) for name in sorted(names)}


# -- queries ------------------------------------------------------------------------------------------------------


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    """One comparison that makes sense."""
    name = draw(st.sampled_from(tuple(VALUES)))
    if name == "marks" and draw(st.booleans()):
        return Condition(name, "contains", draw(st.sampled_from(["a", "A", "a,b", '"', "b"])))
    if name not in COMPARABLE:
        return Condition(name, "is_null", draw(st.booleans()))
    ops = ["eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "between", "is_null"]
    op: Any = draw(st.sampled_from([*ops, "contains", "startswith"] if name in TEXTUAL else ops))
    match op:
        case "is_null":
            return Condition(name, op, draw(st.booleans()))
        case "in" | "nin":
            return Condition(name, op, tuple(draw(st.lists(VALUES[name], max_size=3))))
        case "between":
            return Condition(name, op, (draw(VALUES[name]), draw(VALUES[name])))
        case "contains" | "startswith":
            return Condition(name, op, draw(st.text(LETTERS, max_size=2)))
    return Condition(name, op, draw(VALUES[name]))


def grouped(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    """A group of filters."""
    return st.builds(Group, st.sampled_from(["and", "or"]), st.lists(inner, max_size=3).map(tuple))


filters: Final[st.SearchStrategy[Filter]] = st.recursive(conditions(), grouped, max_leaves=5)
deleted_modes: Final[st.SearchStrategy[Deleted]] = st.sampled_from(get_args(Deleted))
searches = st.none() | st.text(LETTERS, max_size=2)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """A query whose order does not hang on anybody's clock."""
    where, search, deleted = draw(st.none() | filters), draw(searches), draw(deleted_modes)
    if draw(st.integers(0, 5)) == 0:
        near = Near(
            draw(st.integers(-90, 90)), draw(st.integers(-180, 180)), draw(st.sampled_from([0.0, 500.5, 9000.25]))
        )
        return Query(where, search, limit=draw(st.integers(1, 9)), count="exact", deleted=deleted, near=near)
    names = draw(st.lists(st.sampled_from([*COMPARABLE, "version", "id"]), min_size=1, max_size=3, unique=True))
    sort = tuple(Sort(name, draw(st.booleans())) for name in names)
    offset = draw(st.sampled_from([0, 0, 1, 4]))
    return Query(where, search, sort, draw(st.integers(1, 9)), offset, count="exact", deleted=deleted)


@st.composite
def aggregates(draw: st.DrawFn) -> Step:
    """An aggregate that makes sense: money is summed by its currency."""
    names = draw(st.sets(st.sampled_from(COMPARABLE), max_size=2))
    buckets: st.SearchStrategy[Any] = st.none() | st.sampled_from(["day", "month", "year"])
    groups = [GroupBy(name, draw(buckets) if name in ("day", "happened_at") else None) for name in sorted(names)]
    measures = [Measure("count")]
    ops: list[Any] = draw(st.lists(st.sampled_from(["sum", "min", "max"]), max_size=3))
    for op in ops:
        name = draw(st.sampled_from(["rank", "ratio", "weight", "amount"] if op == "sum" else list(COMPARABLE)))
        if (op, name) == ("sum", "amount") and "currency" not in names:
            groups.append(GroupBy("currency"))
            names.add("currency")
        measures.append(Measure(op, name))
    query = Query(draw(st.none() | filters), draw(searches), deleted=draw(deleted_modes))
    return Step("aggregate", query=query, groups=tuple(groups), measures=tuple(measures))


# -- scripts ------------------------------------------------------------------------------------------------------

places = st.lists(st.integers(0, PLACES - 1), min_size=1, max_size=4).map(tuple)
versions = st.none() | st.integers(1, 4)


@st.composite
def creates(draw: st.DrawFn) -> Step:
    """New records, perhaps under a taken id."""
    rows = tuple(draw(st.lists(records(), min_size=1, max_size=4)))
    where = tuple(draw(st.integers(0, PLACES - 1)) for _ in rows)
    return Step("create", where, rows, repeated=draw(st.booleans()))


updates = st.builds(Step, st.just("update"), places, st.tuples(patches()), versions, repeated=st.booleans())
removals = st.builds(
    Step, st.sampled_from(["delete", "restore"]), places, expected_version=versions, repeated=st.booleans()
)
finds = st.builds(Step, st.sampled_from(["find", "walk"]), query=queries())
gets = st.builds(Step, st.just("get"), places, query=st.builds(Query, deleted=deleted_modes))
steps = creates() | creates() | updates | removals | finds | finds | gets | aggregates()


@st.composite
def scripts(draw: st.DrawFn) -> list[Step]:
    """Records to begin with, and then anything."""
    first = [draw(creates()) for _ in range(2)]
    return first + draw(st.lists(steps, min_size=3, max_size=14))


# -- carrying out -------------------------------------------------------------------------------------------------


class Player:
    """Carries steps out on one backend."""

    def __init__(self, caller: Caller, ids: Sequence[str]) -> None:
        self.caller = caller
        self.ids = ids

    async def play(self, step: Step, operation_id: str) -> Any:
        """What the step answered, without what may differ."""
        match step.verb:
            case "find":
                return self._page(await self.caller.find(SAMPLES, **_parts(step.query)))
            case "walk":
                return await self._walk(step.query or Query())
            case "get":
                found = await self.caller.get(
                    SAMPLES, *self._named(step), deleted=step.query.deleted if step.query else "without"
                )
                return [masked(row) for row in found]
            case "aggregate":
                return await self.caller.aggregate(
                    SAMPLES, step.groups, step.measures, **_parts(step.query, paged=False)
                )
        request = self._write(step, operation_id)
        answers = [await self._outcomes(request)]
        if step.repeated:
            answers.append(await self._outcomes(request))
            assert answers[0] == answers[1], "the same operation again answers the same"
        return answers[0]

    def _named(self, step: Step) -> tuple[str, ...]:
        return tuple(self.ids[place] for place in step.places)

    def _write(self, step: Step, operation_id: str) -> Request:
        parts: dict[str, Any] = {"operation_id": operation_id, "expected_version": step.expected_version}
        if step.verb == "create":
            parts["rows"] = tuple(
                check_row(SAMPLES, {**values, "id": record_id})
                for record_id, values in zip(self._named(step), step.values, strict=True)
            )
        else:
            parts["ids"] = self._named(step)
        if step.verb == "update":
            parts["patch"] = check_patch(SAMPLES, step.values[0])
        return self.caller.request(step.verb, SAMPLES, **parts)  # type: ignore[arg-type]  # one of the verbs

    async def _outcomes(self, request: Request) -> list[Any]:
        try:
            answer = await self.caller.handle(request)
        except InterlockError as error:
            return [type(error).__name__]
        return [_outcome(outcome) for outcome in answer.outcomes]

    def _page(self, answer: Response) -> Any:
        return [masked(row) for row in answer.rows], answer.total, answer.next_cursor is not None

    async def _walk(self, query: Query) -> list[Any]:
        answer = await self.caller.find(SAMPLES, **_parts(query))
        pages = [self._page(answer)]
        while answer.next_cursor is not None and len(pages) < 20:
            parts = {**_parts(query), "offset": 0, "cursor": answer.next_cursor}
            answer = await self.caller.find(SAMPLES, **parts)
            pages.append(self._page(answer))
        return pages

    async def trail(self) -> list[Any]:
        """The audit entries, by record, without what may differ."""
        found = (await self.caller.find(AUDIT, limit=1000)).rows
        entries = [entry for entry in found if isinstance(entry, AuditEntry)]
        told = [(e.record_id, e.action, e.operation_id, _image(e.before), _image(e.after)) for e in entries]
        return sorted(told, key=repr)


def _parts(query: Query | None, *, paged: bool = True) -> dict[str, Any]:
    query = query or Query()
    names = ["where", "search", "deleted"]
    if paged:
        names += ["sort", "limit", "offset", "count", "near"]
    return {name: getattr(query, name) for name in names}


def masked(row: Any) -> Any:
    """The row without what may differ."""
    if not isinstance(row, Record):
        return row
    gone = None if row.deleted_at is None else datetime.min.replace(tzinfo=UTC)
    return msgspec.structs.replace(row, **MASKED, deleted_at=gone)


def _outcome(outcome: Outcome) -> Any:
    match outcome.error:
        case Duplicate() as error:
            return outcome.id, "Duplicate", error.field, error.existing_id
        case Conflict() as error:
            return outcome.id, "Conflict", error.expected_version, masked(error.current)
        case None:
            return outcome.id, masked(outcome.row)
    return outcome.id, type(outcome.error).__name__


def _image(text: str) -> Any:
    image = msgspec.json.decode(text)
    for name in ("deletedAt", "number"):
        if image.get(name) is not None:
            image[name] = True
    for name in ("amount", "weight"):
        if image.get(name) is not None:
            image[name] = str(Decimal(image[name]).normalize())
    return sorted(image.items())


class DifferentialConformance(Suite):
    """Holds a backend against the memory reference."""

    @pytest.fixture
    def reference(self) -> Subject:
        """The backend that is right by definition."""
        from interlock.backends.memory import MemoryBackend

        return Subject(MemoryBackend((*ENTITIES, *TEST_ENTITIES)))

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize="CONFORMANCE_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(script=scripts())
    async def test_the_same_script_has_the_same_answers(
        self, subject: Subject, reference: Subject, script: list[Step]
    ) -> None:
        ours = Caller(reference)
        ids = [new_id() for _ in range(PLACES)]
        known, tested = Player(ours, ids), Player(Caller(subject, ours.identity), ids)
        for step in script:
            operation_id = new_id()
            wanted = await known.play(step, operation_id)
            found = await tested.play(step, operation_id)
            assert found == wanted, f"after {step}"
        assert await tested.trail() == await known.trail()
