"""Memory backends broken on purpose, each in one way, with the test of the suite that must notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from interlock.backends.memory import MemoryBackend
from interlock.contract import Condition, Filter, Group, Identity, Outcome, Query, Record, Request, Response
from interlock.entities import ENTITIES
from interlock.errors import Conflict, Duplicate, InterlockError, Invalid, NotFound
from interlock.identifiers import new_id
from interlock.testing.conformance import BackendConformance, Subject
from interlock.testing.conformance.base import Suite
from interlock.testing.samples import TEST_ENTITIES

replace = msgspec.structs.replace
MUTANTS: dict[str, tuple[type[Mutant], str]] = {}
WRITES = ("create", "update", "delete", "restore")


class Mutant:
    """A memory backend whose requests and answers may be tampered with."""

    def __init__(self) -> None:
        self.inner = MemoryBackend((*ENTITIES, *TEST_ENTITIES))
        self.tenants: dict[str, Identity] = {}

    async def handle(self, request: Request) -> Response:
        self.tenants.setdefault(request.identity.tenant_id, request.identity)
        return await self.answer(request)

    async def answer(self, request: Request) -> Response:
        return await self.inner.handle(request)


def caught_by(test: str) -> Callable[[type[Mutant]], type[Mutant]]:
    def register(mutant: type[Mutant]) -> type[Mutant]:
        MUTANTS[mutant.__name__] = (mutant, test)
        return mutant

    return register


def suite_of(mutant: type[Mutant], test: str) -> type[Suite]:
    """A suite of the one test that must notice."""

    class TestMutant(Suite):
        @pytest.fixture
        def subject(self) -> Subject:
            return Subject(mutant())

        @pytest.fixture
        def another(self) -> Subject:
            return Subject(mutant())

    name = test.partition("[")[0]
    setattr(TestMutant, name, getattr(BackendConformance, name))
    return TestMutant


def with_query(request: Request, **parts: Any) -> Request:
    return replace(request, query=replace(request.query or Query(), **parts))


def with_rows(answer: Response, change: Callable[[Any], Any]) -> Response:
    """The answer with each row, read or written, changed."""
    outcomes = tuple(replace(o, row=None if o.row is None else change(o.row)) for o in answer.outcomes)
    return replace(answer, rows=tuple(change(row) for row in answer.rows), outcomes=outcomes)


def each_condition(where: Filter | None, change: Callable[[Condition], Filter]) -> Filter | None:
    if isinstance(where, Group):
        return Group(where.op, tuple(each_condition(item, change) or item for item in where.items))
    return None if where is None else change(where)


# -- tenants ------------------------------------------------------------------------------------------------------


class _ReadsAll(Mutant):
    verb = ""

    async def answer(self, request: Request) -> Response:
        if request.verb != self.verb:
            return await self.inner.handle(request)
        found = [await self.inner.handle(replace(request, identity=who)) for who in self.tenants.values()]
        rows = tuple(row for answer in found for row in answer.rows)
        return replace(found[0], rows=rows, total=sum(answer.total or 0 for answer in found))


@caught_by("test_find_sees_its_own_tenant_only")
class FindsOfAllTenants(_ReadsAll):
    verb = "find"


@caught_by("test_get_does_not_find_it")
class GetsOfAllTenants(_ReadsAll):
    verb = "get"


@caught_by("test_writes_do_not_find_it[None]")
class WritesIntoAllTenants(Mutant):
    async def answer(self, request: Request) -> Response:
        if request.verb in ("update", "delete", "restore"):
            for who in self.tenants.values():
                found = await self.inner.handle(
                    replace(request, verb="get", identity=who, query=Query(deleted="with"), patch=None)
                )
                if found.rows:
                    return await self.inner.handle(replace(request, identity=who))
        return await self.inner.handle(request)


@caught_by("test_aggregates_count_their_own_tenant")
class CountsAnotherTenant(Mutant):
    async def answer(self, request: Request) -> Response:
        if request.verb == "aggregate":
            request = replace(request, identity=next(iter(self.tenants.values())))
        return await self.inner.handle(request)


@caught_by("test_other_tenants_values_are_not_in_the_way")
class KeepsKeysAcrossTenants(Mutant):
    def __init__(self) -> None:
        super().__init__()
        self.codes: set[str] = set()

    async def answer(self, request: Request) -> Response:
        codes = {code for row in request.rows if (code := getattr(row, "code", None))}
        if request.verb == "create" and codes & self.codes:
            error = Duplicate(request.resource, "code", None)
            return Response(outcomes=tuple(Outcome(row.id, error=error) for row in request.rows))
        self.codes |= codes
        return await self.inner.handle(request)


# -- operations ---------------------------------------------------------------------------------------------------


class _Remembers(Mutant):
    """Keeps its own memory of operations, with a hole in it."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[Any, tuple[Request, Response]] = {}

    def key(self, request: Request) -> Any:
        return request.identity.tenant_id, request.operation_id

    def keeps(self, answer: Response) -> bool:
        return True

    def fits(self, first: Request, request: Request) -> bool:
        return first == request

    async def answer(self, request: Request) -> Response:
        if request.verb not in WRITES:
            return await self.inner.handle(request)
        key = self.key(request)
        if key in self.memory:
            first, answer = self.memory[key]
            if not self.fits(first, request):
                raise Invalid({"operation_id": "was used for another request"})
            return answer
        answer = await self.inner.handle(replace(request, operation_id=""))
        if self.keeps(answer):
            self.memory[key] = (request, answer)
        return answer


@caught_by("test_operation_ids_are_of_one_tenant")
class SharesOperations(_Remembers):
    def key(self, request: Request) -> Any:
        return request.operation_id

    def fits(self, first: Request, request: Request) -> bool:
        return True


@caught_by("test_a_repeated_update_writes_once")
class ForgetsOperations(_Remembers):
    def keeps(self, answer: Response) -> bool:
        return False


@caught_by("test_a_rejection_is_repeated_too")
class ForgetsRejections(_Remembers):
    def keeps(self, answer: Response) -> bool:
        return all(outcome.ok for outcome in answer.outcomes)


@caught_by("test_an_operation_id_is_for_one_request[patch]")
class TakesAnOperationForAnother(_Remembers):
    def fits(self, first: Request, request: Request) -> bool:
        return True


@caught_by("test_one_operation_sent_many_times_at_once_writes_once")
class RemembersTooLate(Mutant):
    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[str, Response] = {}

    async def answer(self, request: Request) -> Response:
        known = self.memory.get(request.operation_id)
        if request.verb not in WRITES or known is not None:
            return known or await self.inner.handle(request)
        await asyncio.sleep(0)
        answer = await self.inner.handle(replace(request, operation_id=""))
        self.memory[request.operation_id] = answer
        return answer


# -- versions -----------------------------------------------------------------------------------------------------


@caught_by("test_each_accepted_write_adds_one_to_the_version")
class KeepsTheVersion(Mutant):
    async def answer(self, request: Request) -> Response:
        return with_rows(await self.inner.handle(request), lambda row: replace(row, version=1))


@caught_by("test_an_empty_patch_changes_nothing")
class WritesForNothing(Mutant):
    async def answer(self, request: Request) -> Response:
        if request.verb == "update" and not request.patch and request.resource == "samples":
            request = replace(request, patch={"body_text": new_id()})
        return await self.inner.handle(request)


@caught_by("test_update_of_another_version_is_a_conflict_with_the_current_record")
class IgnoresTheExpectedVersion(Mutant):
    async def answer(self, request: Request) -> Response:
        return await self.inner.handle(replace(request, expected_version=None))


@caught_by("test_update_of_another_version_is_a_conflict_with_the_current_record")
class HidesTheCurrentRecord(Mutant):
    async def answer(self, request: Request) -> Response:
        answer = await self.inner.handle(request)
        for outcome in answer.outcomes:
            if isinstance(outcome.error, Conflict):
                outcome.error.current = None
        return answer


@caught_by("test_of_two_updates_of_one_version_one_wins")
class ChecksAndThenWrites(Mutant):
    async def answer(self, request: Request) -> Response:
        if request.verb == "update" and request.expected_version is not None:
            seen = await self.inner.handle(replace(request, verb="get", patch=None))
            if seen.rows and seen.rows[0].version == request.expected_version:
                await asyncio.sleep(0)
                request = replace(request, expected_version=None)
        return await self.inner.handle(request)


@caught_by("test_updates_of_different_fields_lose_nothing")
class WritesWholeRows(Mutant):
    async def answer(self, request: Request) -> Response:
        if request.verb == "update" and request.patch and request.resource == "samples":
            (row,) = (await self.inner.handle(replace(request, verb="get", patch=None))).rows
            await asyncio.sleep(0)
            whole = {name: getattr(row, name) for name in ("rank", "body_text", "marks", "active", "code")}
            request = replace(request, patch={**whole, **request.patch})
        return await self.inner.handle(request)


@caught_by("test_a_conflict_comes_before_finding_that_nothing_changes")
class LooksForChangesFirst(Mutant):
    async def answer(self, request: Request) -> Response:
        answer = await self.inner.handle(request)
        current = [getattr(o.error, "current", None) for o in answer.outcomes]
        same = [
            row is not None and all(getattr(row, k) == v for k, v in (request.patch or {}).items()) for row in current
        ]
        if request.verb == "update" and any(same):
            return replace(answer, outcomes=tuple(Outcome(row.id, row) for row in current if row is not None))
        return answer


# -- deleting, finding, sorting -----------------------------------------------------------------------------------


@caught_by("test_deleted_records_are_found_as_asked[without]")
class FindsTheDeleted(Mutant):
    async def answer(self, request: Request) -> Response:
        return await self.inner.handle(with_query(request, deleted="with") if request.verb == "find" else request)


@caught_by("test_update_of_what_is_not_there_is_not_found")
class CallsNothingSuccess(Mutant):
    async def answer(self, request: Request) -> Response:
        answer = await self.inner.handle(request)
        quiet = tuple(Outcome(o.id) if isinstance(o.error, NotFound) else o for o in answer.outcomes)
        return replace(answer, outcomes=quiet)


@caught_by("test_a_deleted_record_frees_its_value")
class KeepsKeysOfTheDeleted(Mutant):
    def __init__(self) -> None:
        super().__init__()
        self.held: set[str] = set()

    async def answer(self, request: Request) -> Response:
        emails = {email.lower() for row in request.rows if (email := getattr(row, "email", None))}
        if request.verb == "create" and emails & self.held:
            error = Duplicate(request.resource, "email", None)
            return Response(outcomes=tuple(Outcome(row.id, error=error) for row in request.rows))
        self.held |= emails
        return await self.inner.handle(request)


@caught_by("test_a_second_record_with_the_value_is_a_duplicate")
class AllowsDuplicates(Mutant):
    async def answer(self, request: Request) -> Response:
        if request.verb == "create" and request.resource == "samples":
            request = replace(request, rows=tuple(replace(row, code=None) for row in request.rows))
        return await self.inner.handle(request)


class _Sorts(Mutant):
    """Finds everything in an order of its own."""

    def order(self, rows: list[Any], query: Query) -> list[Any]:
        return rows

    async def answer(self, request: Request) -> Response:
        answer = await self.inner.handle(request)
        if request.verb != "find" or not request.query or not request.query.sort:
            return answer
        return replace(answer, rows=tuple(self.order(list(answer.rows), request.query)))


@caught_by("test_nulls_come_last_in_both_directions")
class PutsNullsFirst(_Sorts):
    def order(self, rows: list[Any], query: Query) -> list[Any]:
        first = query.sort[0]
        return sorted(rows, key=lambda row: getattr(row, first.field) is not None) if first.descending else rows


@caught_by("test_text_sorts_by_code_point[ascending]")
class SortsWithoutCase(_Sorts):
    def order(self, rows: list[Any], query: Query) -> list[Any]:
        return sorted(rows, key=lambda row: row.label.lower())


@caught_by("test_text_sorts_by_code_point[ascending]")
class SortsByUtf16(_Sorts):
    def order(self, rows: list[Any], query: Query) -> list[Any]:
        return sorted(rows, key=lambda row: row.label.encode("utf-16-be"))


@caught_by("test_ties_are_broken_by_the_id")
class BreaksTiesBackwards(_Sorts):
    def order(self, rows: list[Any], query: Query) -> list[Any]:
        return rows[::-1] if len({row.label for row in rows}) == 1 else rows


# -- paging -------------------------------------------------------------------------------------------------------


@caught_by("test_rows_inserted_meanwhile_move_nothing[label]")
class PagesByOffset(Mutant):
    async def answer(self, request: Request) -> Response:
        query = request.query or Query()
        if request.verb != "find":
            return await self.inner.handle(request)
        start = int(query.cursor) if query.cursor else query.offset
        answer = await self.inner.handle(with_query(request, cursor=None, offset=start))
        return replace(answer, next_cursor=answer.next_cursor and str(start + query.limit))


@caught_by("test_the_last_page_has_no_cursor[3]")
class OffersAnEmptyPage(Mutant):
    last = ""

    async def answer(self, request: Request) -> Response:
        answer = await self.inner.handle(request)
        if request.verb == "find" and request.query and len(answer.rows) == request.query.limit:
            from interlock.paging import encode_cursor, full_order

            return replace(answer, next_cursor=encode_cursor(full_order(request.query), answer.rows[-1]))
        return answer


@caught_by("test_the_total_ignores_the_page")
class CountsThePage(Mutant):
    async def answer(self, request: Request) -> Response:
        answer = await self.inner.handle(request)
        return replace(answer, total=None if answer.total is None else len(answer.rows))


@caught_by("test_a_cursor_of_another_order_is_invalid")
class TakesAnyCursor(Mutant):
    async def answer(self, request: Request) -> Response:
        try:
            return await self.inner.handle(request)
        except Invalid:
            return await self.inner.handle(with_query(request, cursor=None))


# -- filters, search, aggregates ----------------------------------------------------------------------------------


class _Filters(Mutant):
    def condition(self, condition: Condition) -> Filter:
        return condition

    async def answer(self, request: Request) -> Response:
        if request.query is not None and request.query.where is not None:
            request = with_query(request, where=each_condition(request.query.where, self.condition))
        return await self.inner.handle(request)


@caught_by("test_each_character_is_filtered_literally[u005f]")
class MatchesUnderscores(_Filters):
    def condition(self, condition: Condition) -> Filter:
        if condition.op in ("contains", "startswith"):
            return replace(condition, value=condition.value.replace("_", ""))
        return condition


@caught_by("test_null_matches_no_comparison")
class LetsNullsDiffer(_Filters):
    def condition(self, condition: Condition) -> Filter:
        if condition.op in ("ne", "nin"):
            return Group("or", (condition, Condition(condition.field, "is_null", True)))
        return condition


@caught_by("test_operator[rank-between]")
class LeavesOutTheEnds(_Filters):
    def condition(self, condition: Condition) -> Filter:
        if condition.op == "between":
            low, high = condition.value
            return Group("and", (Condition(condition.field, "gt", low), Condition(condition.field, "lt", high)))
        return condition


@caught_by("test_contains_and_startswith_compare_case")
class ContainsWithoutCase(Mutant):
    async def answer(self, request: Request) -> Response:
        where = request.query.where if request.query else None
        if isinstance(where, Condition) and where.op == "contains" and where.field == "label":
            return await self.inner.handle(with_query(request, where=None, search=where.value))
        return await self.inner.handle(request)


@caught_by("test_each_character_is_searched_literally[u0025]")
class SearchesPercentSigns(Mutant):
    async def answer(self, request: Request) -> Response:
        if request.query is not None and request.query.search:
            request = with_query(request, search=request.query.search.replace("%", ""))
        return await self.inner.handle(request)


@caught_by("test_both_sides_are_folded[cyrillic]")
class FoldsAsciiOnly(Mutant):
    async def answer(self, request: Request) -> Response:
        answer = await self.inner.handle(request)
        wanted = request.query.search if request.query else None
        if request.verb != "find" or not wanted or wanted.isascii():
            return answer
        rows = tuple(row for row in answer.rows if wanted in f"{row.label}\n{row.body_text}")
        return replace(answer, rows=rows, total=len(rows))


@caught_by("test_sums_of_money_are_exact_and_by_currency")
class SumsInFloats(Mutant):
    async def answer(self, request: Request) -> Response:
        answer = await self.inner.handle(request)
        if request.verb != "aggregate":
            return answer
        rows = (await self.inner.handle(replace(request, verb="find", aggregate=None, query=Query(limit=1000)))).rows

        def added(key: tuple[Any, ...]) -> Decimal:
            return Decimal(repr(sum(float(row.amount) for row in rows if row.amount and row.currency in key)))

        groups = tuple(replace(g, values=(added(g.key), *g.values[1:])) for g in answer.groups)
        return replace(answer, groups=groups)


@caught_by("test_groups_are_ordered_with_nulls_last")
class PutsTheGroupOfNullsFirst(Mutant):
    async def answer(self, request: Request) -> Response:
        answer = await self.inner.handle(request)
        return replace(answer, groups=tuple(sorted(answer.groups, key=lambda g: None not in g.key)))


# -- values, bulk, put, numbers, trail ----------------------------------------------------------------------------


class _Spoils(Mutant):
    def spoil(self, row: Any) -> Any:
        return row

    async def answer(self, request: Request) -> Response:
        if request.verb == "create" and request.resource == "samples":
            request = replace(request, rows=tuple(self.spoil(row) for row in request.rows))
        return await self.inner.handle(request)


@caught_by("test_times_sort_to_the_microsecond_across_the_years")
class CutsMicroseconds(_Spoils):
    def spoil(self, row: Any) -> Any:
        return row if row.happened_at is None else replace(row, happened_at=row.happened_at.replace(microsecond=0))


@caught_by("test_every_odd_text_comes_back[body_text]")
class StripsText(_Spoils):
    def spoil(self, row: Any) -> Any:
        return row if row.body_text is None else replace(row, body_text=row.body_text.strip())


@caught_by("test_every_value_may_be_null_again")
class ForgetsDetails(_Spoils):
    def spoil(self, row: Any) -> Any:
        return replace(row, detail=None)


@caught_by("test_update_answers_each_id_in_order")
class StopsAtTheFirstBadItem(Mutant):
    async def answer(self, request: Request) -> Response:
        if request.verb != "update":
            return await self.inner.handle(request)
        outcomes: list[Outcome] = []
        for place, item in enumerate(request.ids):
            (outcome,) = (await self.inner.handle(replace(request, ids=(item,), operation_id=""))).outcomes
            outcomes.append(outcome)
            if outcome.error is not None:
                outcomes += [Outcome(rest, error=outcome.error) for rest in request.ids[place + 1 :]]
                break
        return Response(outcomes=tuple(outcomes))


@caught_by("test_update_answers_each_id_in_order")
class RaisesTheFirstError(Mutant):
    async def answer(self, request: Request) -> Response:
        answer = await self.inner.handle(request)
        for outcome in answer.outcomes:
            if isinstance(outcome.error, InterlockError):
                raise outcome.error
        return answer


@caught_by("test_put_of_a_lower_or_the_same_sequence_writes_nothing")
class PutsAnything(Mutant):
    sequence = 0

    async def answer(self, request: Request) -> Response:
        if request.verb == "put":
            self.sequence += 1
            request = replace(request, sequence=self.sequence)
        return await self.inner.handle(request)


@caught_by("test_numbers_are_never_given_twice")
class NumbersTwice(Mutant):
    async def answer(self, request: Request) -> Response:
        answer = await self.inner.handle(request)

        def halved(row: Record) -> Record:
            number = getattr(row, "number", None)
            return row if number is None else replace(row, number=(number + 1) // 2)

        return with_rows(answer, halved)


@caught_by("test_each_accepted_write_leaves_one_entry")
class LeavesNoTrail(Mutant):
    async def answer(self, request: Request) -> Response:
        return Response(total=0) if request.resource == "audit" else await self.inner.handle(request)


@caught_by("test_a_rejected_write_leaves_none")
class LogsAttempts(Mutant):
    async def answer(self, request: Request) -> Response:
        answer = await self.inner.handle(request)
        if any(not outcome.ok for outcome in answer.outcomes):
            copied = replace(request, verb="restore", patch=None, expected_version=None, operation_id="")
            for who in self.tenants.values():
                gone = replace(copied, verb="delete", identity=who)
                await self.inner.handle(gone)
                await self.inner.handle(replace(copied, identity=who))
        return answer


@caught_by("test_two_instances_share_no_records")
class SharesItsState(Mutant):
    shared = MemoryBackend((*ENTITIES, *TEST_ENTITIES))

    async def answer(self, request: Request) -> Response:
        return await self.shared.handle(request)


@caught_by("test_create_sets_the_server_owned_fields")
class LeavesOutTheAuthor(Mutant):
    async def answer(self, request: Request) -> Response:
        return with_rows(await self.inner.handle(request), lambda row: replace(row, created_by=None))


@caught_by("test_near[400-Berlin]")
class MeasuresFlat(Mutant):
    async def answer(self, request: Request) -> Response:
        near = request.query.near if request.query else None
        answer = await self.inner.handle(request)
        if near is None:
            return answer
        rows = sorted(answer.rows, key=lambda row: -abs(row.place.lon - near.lon))
        return replace(answer, rows=tuple(rows))
