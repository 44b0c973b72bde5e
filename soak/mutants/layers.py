"""Protections of the layers, each left out by a patch: `RACES` and `LIMITS` are caught by the world of that name, `STAGED` by a scenario of its own.

Where a protection depends on how a call ended, the patch looks at the exception that is being handled.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import pytest
from tests.layers import scenarios
from tests.layers.scenarios import Scenario

from interlock.contract import Change, Identity, Request
from interlock.errors import DeadlineExceeded, InterlockError, Invalid, OutcomeUnknown
from interlock.layers import batching, bulkhead, caching, deadline, keys, retry, single_flight
from interlock.layers.batching import Batch, Gathering
from interlock.layers.breaker import Breaker, _Window
from interlock.layers.bulkhead import Bulkhead
from interlock.layers.caching import Cache
from interlock.layers.deadline import Deadline
from interlock.layers.invalidation import Invalidation
from interlock.layers.keys import Scope
from interlock.layers.retry import Budget, Retry
from interlock.layers.single_flight import SingleFlight, _Flight
from interlock.layers.trials import Trials
from soak.mutants.catching import Mutant

__all__ = ["LIMITS", "RACES", "STAGED"]

LONG: Final = 1e6
MANY: Final = 10**6

replaced: Final = msgspec.structs.replace


def _nothing(*_: object) -> None:
    """No-op method."""


def _after_init(patch: pytest.MonkeyPatch, layer: Any, change: Callable[[Any], None]) -> None:
    """Change each layer of the class when it has been made."""
    init = layer.__init__

    def changed(self: Any, *parts: Any, **named: Any) -> None:
        init(self, *parts, **named)
        change(self)

    patch.setattr(layer, "__init__", changed)


class _KeepsAll(dict[Any, Any]):
    """Nothing is ever removed."""

    def pop(self, key: Any, *default: Any) -> Any:
        return self.get(key, *default)


class _KeepsNothing(set[Any]):
    """Nothing is ever added."""

    def add(self, _: Any) -> None:
        return


# -- the cache ---------------------------------------------------------------------------------------------------------


def a_fill_is_kept_despite_writes(patch: pytest.MonkeyPatch) -> None:
    keep = Cache._keep

    def kept(self: Cache, request: Any, scope: Scope, held: Any, writes: int, key: Hashable, answer: Any) -> None:
        keep(self, request, scope, held, held.writes, key, answer)

    patch.setattr(Cache, "_keep", kept)


def a_fill_is_kept_in_a_scope_that_is_gone(patch: pytest.MonkeyPatch) -> None:
    def keep(self: Cache, request: Any, scope: Scope, held: Any, writes: int, key: Hashable, answer: Any) -> None:
        if held.writes == writes:
            self._put(request, scope, held, key, answer)

    patch.setattr(Cache, "_keep", keep)


def writes_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    forget = Cache.forget

    def forgotten(self: Cache, scope: Scope, records: tuple[str, ...] | None) -> None:
        forget(self, scope, records)
        if scope in self._scopes:
            self._scopes[scope].writes = 0

    patch.setattr(Cache, "forget", forgotten)


def lists_outlive_writes(patch: pytest.MonkeyPatch) -> None:
    forget = Cache.forget

    def forgotten(self: Cache, scope: Scope, records: tuple[str, ...] | None) -> None:
        held = self._scopes.get(scope)
        lists = {} if held is None or records is None else dict(held.lists)
        forget(self, scope, records)
        if held is not None:
            held.lists.update(lists)
            self.kept += len(lists)

    patch.setattr(Cache, "forget", forgotten)


def gets_outlive_writes(patch: pytest.MonkeyPatch) -> None:
    strike = caching._strike

    def struck(held: Any, key: Hashable, record_id: str) -> None:
        entry = held.gets[key]
        strike(held, key, record_id)
        held.gets[key] = entry

    patch.setattr(caching, "_strike", struck)


def gets_are_not_found_by_record(patch: pytest.MonkeyPatch) -> None:
    put = Cache._put

    def unfound(self: Cache, request: Request, scope: Scope, held: Any, key: Hashable, answer: Any) -> None:
        put(self, request, scope, held, key, answer)
        held.of_record.clear()

    patch.setattr(Cache, "_put", unfound)


def a_get_of_several_is_not_forgotten_by_the_others(patch: pytest.MonkeyPatch) -> None:
    def strike(held: Any, key: Hashable, _: str) -> None:
        del held.gets[key]

    patch.setattr(caching, "_strike", strike)


def an_old_answer_outlives_a_write(patch: pytest.MonkeyPatch) -> None:
    instead = Cache._instead

    def whatever_is_held(self: Cache, request: Request, _: object, key: Hashable, old: Any) -> Any:
        held: Any = SimpleNamespace(entry=lambda *_: old)
        return instead(self, request, held, key, old)

    patch.setattr(Cache, "_instead", whatever_is_held)


def ended_answers_are_given(patch: pytest.MonkeyPatch) -> None:
    def never_ends(entry: Any) -> None:
        entry.ends = LONG

    _after_init(patch, caching._Entry, never_ends)


def evicted_answers_are_still_counted(patch: pytest.MonkeyPatch) -> None:
    opened = Cache._open

    def counted(self: Cache, scope: Scope) -> Any:
        kept = self.kept
        held = opened(self, scope)
        self.kept = kept
        return held

    patch.setattr(Cache, "_open", counted)


def the_cache_does_not_make_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cache, "_make_room", _nothing)


def refreshes_outlive_the_cache(patch: pytest.MonkeyPatch) -> None:
    async def aclose(self: Cache) -> None:
        return

    patch.setattr(Cache, "aclose", aclose)


class _OneTenant(OrderedDict[Scope, Any]):
    """Scopes without their tenant."""

    def get(self, scope: Scope, default: Any = None) -> Any:
        return super().get(("", scope[1]), default)

    def __setitem__(self, scope: Scope, held: Any) -> None:
        super().__setitem__(("", scope[1]), held)


def tenants_share_the_cache(patch: pytest.MonkeyPatch) -> None:
    def one(cache: Any) -> None:
        cache._scopes = _OneTenant()

    _after_init(patch, Cache, one)


# -- who is told of writes ---------------------------------------------------------------------------------------------


def _written(patch: pytest.MonkeyPatch, hears: Callable[[BaseException | None], bool]) -> None:
    """Tell only of writes that ended so."""
    written = Invalidation.written

    def heard(self: Invalidation, request: Request, *, known: bool) -> None:
        if hears(sys.exception()):
            written(self, request, known=known)

    patch.setattr(Invalidation, "written", heard)


def a_cancelled_write_drops_nothing(patch: pytest.MonkeyPatch) -> None:
    _written(patch, lambda error: not isinstance(error, asyncio.CancelledError))


def an_accepted_write_drops_nothing(patch: pytest.MonkeyPatch) -> None:
    _written(patch, lambda error: error is not None)


def an_error_of_the_backend_is_taken_for_a_rejection(patch: pytest.MonkeyPatch) -> None:
    written = Invalidation.written

    def settled(self: Invalidation, request: Request, *, known: bool) -> None:
        written(self, request, known=known or isinstance(sys.exception(), InterlockError))

    patch.setattr(Invalidation, "written", settled)


def a_create_drops_no_gets(patch: pytest.MonkeyPatch) -> None:
    written = Invalidation.written

    def without_rows(self: Invalidation, request: Request, *, known: bool) -> None:
        written(self, replaced(request, rows=()), known=known)

    patch.setattr(Invalidation, "written", without_rows)


def a_resync_is_taken_for_one_record(patch: pytest.MonkeyPatch) -> None:
    changed = Invalidation.changed

    def one(self: Invalidation, tenant_id: str, change: Change) -> None:
        changed(self, tenant_id, replaced(change, kind="updated"))

    patch.setattr(Invalidation, "changed", one)


def only_one_layer_is_told(patch: pytest.MonkeyPatch) -> None:
    add = Invalidation.add

    def first(self: Invalidation, layer: Any) -> None:
        if not self._layers:
            add(self, layer)

    patch.setattr(Invalidation, "add", first)


def fills_are_kept_while_a_write_may_still_land(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Invalidation, "settled", lambda self, scope: True)


def an_unknown_outcome_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    forget = Invalidation._forget

    def known_to_all(self: Invalidation, scope: Scope, records: tuple[str, ...] | None, *, known: bool) -> None:
        forget(self, scope, records, known=True)

    patch.setattr(Invalidation, "_forget", known_to_all)


# -- keys --------------------------------------------------------------------------------------------------------------


def users_share_the_cache(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(caching, "namespace_of", lambda varies: lambda identity: "")


def users_share_flights(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(single_flight, "namespace_of", lambda varies: lambda identity: "")


def roles_share_answers(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(keys._SHARED, "role", keys._of_tenant)


def users_of_a_role_share_answers(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(keys._SHARED, "user", keys._of_role)


def _read_key(patch: pytest.MonkeyPatch, key: Callable[[Request, Hashable], Hashable]) -> None:
    """Another key, for the cache and for flights."""
    for module in (caching, single_flight):
        patch.setattr(module, "read_key", key)


def gets_share_a_key_whatever_they_ask_for(patch: pytest.MonkeyPatch) -> None:
    read_key = keys.read_key
    _read_key(patch, lambda request, whose: read_key(replaced(request, ids=("",) * len(request.ids)), whose))


def lists_and_sums_share_a_key(patch: pytest.MonkeyPatch) -> None:
    read_key = keys.read_key
    _read_key(patch, lambda request, whose: read_key(request, whose) if request.verb == "get" else (whose,))


# -- single-flight -----------------------------------------------------------------------------------------------------


def tenants_share_flights(patch: pytest.MonkeyPatch) -> None:
    handle, forget = SingleFlight.handle_keyed, SingleFlight.forget

    async def among_all(self: SingleFlight, request: Request, scope: Scope, key: Hashable) -> Any:
        return await handle(self, request, ("", scope[1]), key)

    def of_all(self: SingleFlight, scope: Scope, records: tuple[str, ...] | None) -> None:
        forget(self, ("", scope[1]), records)

    patch.setattr(SingleFlight, "handle_keyed", among_all)
    patch.setattr(SingleFlight, "forget", of_all)


def flights_outlive_writes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SingleFlight, "forget", _nothing)


def a_flight_about_to_be_cancelled_is_joined(patch: pytest.MonkeyPatch) -> None:
    stop = SingleFlight._stop

    def back_again(self: SingleFlight, flight: _Flight) -> None:
        if self._flights.setdefault(flight._scope, flight._among) is flight._among:
            flight._among.setdefault(flight._key, flight)
        flight.landed = False
        stop(self, flight)

    patch.setattr(SingleFlight, "_stop", back_again)


def a_landed_flight_is_joined(patch: pytest.MonkeyPatch) -> None:
    def land(self: _Flight) -> None:
        self.landed = True

    patch.setattr(_Flight, "land", land)


def a_failed_flight_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Flight, "set_exception", _nothing)


def a_cancelled_flight_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Flight, "cancel", _nothing)


class _LooksEmpty(dict[Any, Any]):
    """False whatever it holds."""

    def __bool__(self) -> bool:
        return False


def a_flight_ends_with_the_first_that_leaves(patch: pytest.MonkeyPatch) -> None:
    def nobody(flight: Any) -> None:
        flight.waiting = _LooksEmpty()

    _after_init(patch, _Flight, nobody)


def a_flight_goes_on_for_callers_that_left(patch: pytest.MonkeyPatch) -> None:
    def for_ever(flight: Any) -> None:
        flight.waiting = _KeepsAll()

    _after_init(patch, _Flight, for_ever)


def a_flight_has_its_first_callers_deadline(patch: pytest.MonkeyPatch) -> None:
    take_off, fly = SingleFlight._take_off, SingleFlight._fly

    def hurried(self: Any, flight: _Flight, request: Request, loop: asyncio.AbstractEventLoop) -> None:
        self._fly = lambda flight, _: fly(self, flight, request)
        take_off(self, flight, request, loop)

    patch.setattr(SingleFlight, "_take_off", hurried)


def a_caller_of_a_flight_has_no_deadline(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(single_flight, "_late", _nothing)


def flights_from_before_a_write_are_not_closed(patch: pytest.MonkeyPatch) -> None:
    def unknown(flights: Any) -> None:
        flights._flying = _KeepsNothing()

    _after_init(patch, SingleFlight, unknown)


# -- batches -----------------------------------------------------------------------------------------------------------


def callers_share_batches(patch: pytest.MonkeyPatch) -> None:
    find, nobody = Batch._find, Identity("", "", "agent")

    def whoever_asks(self: Batch, request: Request) -> Any:
        return find(self, replaced(request, identity=nobody))

    patch.setattr(Batch, "_find", whoever_asks)


def a_failed_batch_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(batching, "_fail", _nothing)


def one_bad_id_fails_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Invalid, "status", 500)


def a_batch_without_callers_goes_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gathering, "left", _nothing)


def a_batch_ends_with_the_first_that_leaves(patch: pytest.MonkeyPatch) -> None:
    def left(self: Gathering) -> None:
        if self.sent and self.task is not None:
            self.task.cancel()

    patch.setattr(Gathering, "left", left)


class _Stays:
    """A place whose caller never seems to have left."""

    def __init__(self, place: Any) -> None:
        self._place = place

    def done(self) -> bool:
        return False

    def set_result(self, answer: Any) -> None:
        if not self._place.done():
            self._place.set_result(answer)


def a_batch_asks_for_callers_that_left(patch: pytest.MonkeyPatch) -> None:
    send = Batch._send

    async def for_all(self: Batch, gathering: Any) -> None:
        gathering.asked = [(request, _Stays(place)) for request, place in gathering.asked]
        await send(self, gathering)

    patch.setattr(Batch, "_send", for_all)


def a_batch_has_its_first_callers_deadline(patch: pytest.MonkeyPatch) -> None:
    together = Batch._together

    async def hurried(self: Batch, asked: Any) -> None:
        first = asked[0][0].deadline
        await together(self, [(replaced(request, deadline=first), place) for request, place in asked])

    patch.setattr(Batch, "_together", hurried)


def a_batched_caller_has_no_deadline(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(batching, "_late", _nothing)


def a_get_that_stayed_alone_is_still_joined(patch: pytest.MonkeyPatch) -> None:
    stays_alone = Batch._stays_alone

    async def open_again(self: Batch, gathering: Gathering) -> bool:
        alone = await stays_alone(self, gathering)
        if alone:
            self._open[gathering.key] = gathering
        return alone

    patch.setattr(Batch, "_stays_alone", open_again)


def a_batch_that_was_sent_is_joined(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Batch, "_close", _nothing)


def a_batch_mixes_up_its_callers(patch: pytest.MonkeyPatch) -> None:
    together = Batch._together

    async def mixed_up(self: Batch, asked: Any) -> None:
        requests, places = zip(*asked, strict=True)
        await together(self, list(zip(requests, (*places[1:], places[0]), strict=True)))

    patch.setattr(Batch, "_together", mixed_up)


# -- the bulkhead ------------------------------------------------------------------------------------------------------


def _bulkhead(patch: pytest.MonkeyPatch, **given: int) -> None:
    """Bulkheads of other bounds than they were given."""
    init = Bulkhead.__init__

    def bounded(self: Bulkhead, inner: Any, most: int, waiting: int) -> None:
        init(self, inner, given.get("most", most), given.get("waiting", waiting))

    patch.setattr(Bulkhead, "__init__", bounded)


def a_bulkhead_has_no_bound(patch: pytest.MonkeyPatch) -> None:
    _bulkhead(patch, most=MANY)


def the_queue_has_no_end(patch: pytest.MonkeyPatch) -> None:
    _bulkhead(patch, waiting=MANY)


def a_place_given_is_lost_when_its_taker_was_cancelled(patch: pytest.MonkeyPatch) -> None:
    leave, place = Bulkhead._leave, Bulkhead._place
    waits = ContextVar("waits", default=False)

    async def waiting(self: Bulkhead, request: Request) -> None:
        token = waits.set(True)
        try:
            await place(self, request)
        finally:
            waits.reset(token)

    def lost(self: Bulkhead) -> None:
        if not waits.get():
            leave(self)

    patch.setattr(Bulkhead, "_place", waiting)
    patch.setattr(Bulkhead, "_leave", lost)


class _KeepsPlaces(deque[Any]):
    """Nothing is removed from the middle."""

    def remove(self, _: Any) -> None:
        return


class _LastFirst(deque[Any]):
    """Last in, first out."""

    def popleft(self) -> Any:
        return self.pop()


def _queue(patch: pytest.MonkeyPatch, kind: type[deque[Any]]) -> None:
    """Bulkheads with another kind of queue."""

    def other(bulkhead: Any) -> None:
        bulkhead._queue = kind()

    _after_init(patch, Bulkhead, other)


def callers_that_left_stay_in_the_queue(patch: pytest.MonkeyPatch) -> None:
    _queue(patch, _KeepsPlaces)


def the_queue_is_last_in_first_out(patch: pytest.MonkeyPatch) -> None:
    _queue(patch, _LastFirst)


def a_place_is_handed_to_a_caller_that_left(patch: pytest.MonkeyPatch) -> None:
    def leave(self: Bulkhead) -> None:
        if self._queue:
            self._queue.popleft().set_result(None)
        else:
            self.in_use -= 1

    patch.setattr(Bulkhead, "_leave", leave)


def a_place_is_given_twice(patch: pytest.MonkeyPatch) -> None:
    leave = Bulkhead._leave

    def twice(self: Bulkhead) -> None:
        leave(self)
        if self._queue:
            leave(self)

    patch.setattr(Bulkhead, "_leave", twice)


def a_queued_call_has_no_deadline(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bulkhead, "_give_up", _nothing)


def a_failed_call_keeps_its_place(patch: pytest.MonkeyPatch) -> None:
    leave = Bulkhead._leave

    def unless_it_failed(self: Bulkhead) -> None:
        if not isinstance(sys.exception(), InterlockError):
            leave(self)

    patch.setattr(Bulkhead, "_leave", unless_it_failed)


# -- retries -----------------------------------------------------------------------------------------------------------


def _raises_its_cause(patch: pytest.MonkeyPatch, hides: Callable[[InterlockError], bool]) -> None:
    """What the last attempt met hides that an outcome is not known."""
    handle = Retry.handle

    async def hidden(self: Retry, request: Request) -> Any:
        try:
            return await handle(self, request)
        except OutcomeUnknown as error:
            cause = error.__cause__
            if isinstance(cause, InterlockError) and hides(cause):
                raise cause from None
            raise

    patch.setattr(Retry, "handle", hidden)


def the_last_attempt_hides_an_unknown_outcome(patch: pytest.MonkeyPatch) -> None:
    _raises_its_cause(patch, lambda error: True)


def a_refusal_hides_an_unknown_outcome(patch: pytest.MonkeyPatch) -> None:
    _raises_its_cause(patch, lambda error: not isinstance(error, retry._PASSING))


def attempts_have_no_end(patch: pytest.MonkeyPatch) -> None:
    wait = Retry._wait

    def always_the_first(self: Retry, request: Request, error: InterlockError, _: int) -> float | None:
        return wait(self, request, error, 1)

    patch.setattr(Retry, "_wait", always_the_first)


def _waits_for(patch: pytest.MonkeyPatch, change: Callable[[Request], Request]) -> None:
    """Decide on the next attempt as if this were the request."""
    wait = Retry._wait

    def changed(self: Retry, request: Request, error: InterlockError, attempt: int) -> float | None:
        return wait(self, change(request), error, attempt)

    patch.setattr(Retry, "_wait", changed)


def writes_without_an_operation_id_are_retried(patch: pytest.MonkeyPatch) -> None:
    _waits_for(patch, lambda request: replaced(request, operation_id=request.operation_id or "some"))


def a_retry_ignores_the_deadline(patch: pytest.MonkeyPatch) -> None:
    _waits_for(patch, lambda request: replaced(request, deadline=None))


def unknown_outcomes_are_retried_on_any_backend(patch: pytest.MonkeyPatch) -> None:
    def repeats(layer: Any) -> None:
        layer._repeats = True

    _after_init(patch, Retry, repeats)


def retries_cost_nothing(patch: pytest.MonkeyPatch) -> None:
    def spend(self: Budget) -> bool:
        return self.tokens >= 1.0

    patch.setattr(Budget, "spend", spend)


def retry_after_is_ignored(patch: pytest.MonkeyPatch) -> None:
    wait = Retry._wait

    def sooner(self: Retry, request: Request, error: InterlockError, attempt: int) -> float | None:
        found = wait(self, request, error, attempt)
        return None if found is None else found - (getattr(error, "retry_after", None) or 0)

    patch.setattr(Retry, "_wait", sooner)


def refusals_are_sent_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(retry, "_PASSING", (InterlockError,))


# -- deadlines ---------------------------------------------------------------------------------------------------------


def calls_have_no_deadline_from_the_settings(patch: pytest.MonkeyPatch) -> None:
    def for_ever(layer: Any) -> None:
        layer._seconds = LONG

    _after_init(patch, Deadline, for_ever)


def _asked(patch: pytest.MonkeyPatch, change: Callable[[Request], Request]) -> None:
    """The deadline layer is given another request."""
    handle = Deadline.handle

    async def changed(self: Deadline, request: Request) -> Any:
        return await handle(self, change(request))

    patch.setattr(Deadline, "handle", changed)


def calls_have_no_deadline_of_their_own(patch: pytest.MonkeyPatch) -> None:
    _asked(patch, lambda request: replaced(request, deadline=None))


def a_late_call_is_sent(patch: pytest.MonkeyPatch) -> None:
    def in_time(request: Request) -> Request:
        late = request.deadline is not None and request.deadline <= scenarios.now()
        return replaced(request, deadline=None) if late else request

    _asked(patch, in_time)


def _alarms(patch: pytest.MonkeyPatch, cancelling: int) -> None:
    """Alarms that remember another count of cancellations."""

    def other(alarm: Any) -> None:
        alarm.cancelling = cancelling

    _after_init(patch, deadline._Alarm, other)


def a_cancelled_caller_is_taken_for_a_late_one(patch: pytest.MonkeyPatch) -> None:
    _alarms(patch, MANY)


def a_late_call_is_taken_for_a_cancelled_one(patch: pytest.MonkeyPatch) -> None:
    _alarms(patch, -1)


def a_late_write_is_taken_for_one_that_was_not_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deadline, "late", lambda request: DeadlineExceeded())


def calls_that_have_ended_are_timed(patch: pytest.MonkeyPatch) -> None:
    def for_ever(layer: Any) -> None:
        layer._running = _KeepsAll()

    _after_init(patch, Deadline, for_ever)


def the_timer_does_not_come_back(patch: pytest.MonkeyPatch) -> None:
    sweep = Deadline._sweep

    def once(self: Any) -> None:
        sweep(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    patch.setattr(Deadline, "_sweep", once)


def _uncancels(patch: pytest.MonkeyPatch, when: Callable[[BaseException | None], bool]) -> None:
    """An alarm is taken back only for a call that ended so."""
    answered = deadline._Alarm.answered

    def sometimes(self: Any) -> None:
        if when(sys.exception()):
            answered(self)

    patch.setattr(deadline._Alarm, "answered", sometimes)


def a_call_answered_as_its_alarm_rang_is_cancelled(patch: pytest.MonkeyPatch) -> None:
    _uncancels(patch, lambda error: error is not None)


def a_call_that_failed_as_its_alarm_rang_is_cancelled(patch: pytest.MonkeyPatch) -> None:
    _uncancels(patch, lambda error: error is None)


# -- the breaker -------------------------------------------------------------------------------------------------------


def a_breaker_never_opens(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Window, "count", lambda *_, **__: (0, 0, 0))


def all_callers_try_a_sick_backend(patch: pytest.MonkeyPatch) -> None:
    permit = Breaker._permit

    def permitted(self: Breaker, now: float) -> object:
        settings, self._settings = self._settings, replaced(self._settings, permits=MANY)
        try:
            return permit(self, now)
        finally:
            self._settings = settings

    patch.setattr(Breaker, "_permit", permitted)


def a_cancelled_trial_is_never_over(patch: pytest.MonkeyPatch) -> None:
    end = Trials.end

    def unless_given_up(self: Trials, trial: object, pause_until: float = 0.0) -> None:
        if not isinstance(sys.exception(), asyncio.CancelledError):
            end(self, trial, pause_until)

    patch.setattr(Trials, "end", unless_given_up)


def an_open_breaker_stays_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Breaker, "_pause_from", lambda self, now: LONG)


def a_failed_trial_closes_the_breaker(patch: pytest.MonkeyPatch) -> None:
    tried = Breaker._tried

    def well(self: Breaker, now: float, *, failed: bool) -> None:
        tried(self, now, failed=False)

    patch.setattr(Breaker, "_tried", well)


RACES: Final[tuple[Mutant, ...]] = (
    a_fill_is_kept_despite_writes,
    a_fill_is_kept_in_a_scope_that_is_gone,
    writes_are_not_counted,
    lists_outlive_writes,
    gets_outlive_writes,
    gets_are_not_found_by_record,
    a_get_of_several_is_not_forgotten_by_the_others,
    evicted_answers_are_still_counted,
    the_cache_does_not_make_room,
    tenants_share_the_cache,
    a_cancelled_write_drops_nothing,
    an_accepted_write_drops_nothing,
    an_error_of_the_backend_is_taken_for_a_rejection,
    a_create_drops_no_gets,
    a_resync_is_taken_for_one_record,
    only_one_layer_is_told,
    fills_are_kept_while_a_write_may_still_land,
    an_unknown_outcome_is_forgotten,
    users_share_the_cache,
    users_share_flights,
    roles_share_answers,
    users_of_a_role_share_answers,
    gets_share_a_key_whatever_they_ask_for,
    tenants_share_flights,
    flights_outlive_writes,
    a_flight_about_to_be_cancelled_is_joined,
    a_landed_flight_is_joined,
    a_failed_flight_wakes_nobody,
    a_flight_ends_with_the_first_that_leaves,
    a_caller_of_a_flight_has_no_deadline,
    callers_share_batches,
    a_failed_batch_wakes_nobody,
    one_bad_id_fails_all,
    a_batch_ends_with_the_first_that_leaves,
    a_get_that_stayed_alone_is_still_joined,
    a_batch_that_was_sent_is_joined,
    a_batch_mixes_up_its_callers,
)

LIMITS: Final[tuple[Mutant, ...]] = (
    a_bulkhead_has_no_bound,
    a_place_given_is_lost_when_its_taker_was_cancelled,
    callers_that_left_stay_in_the_queue,
    the_queue_is_last_in_first_out,
    a_place_is_handed_to_a_caller_that_left,
    a_place_is_given_twice,
    a_queued_call_has_no_deadline,
    a_failed_call_keeps_its_place,
    the_last_attempt_hides_an_unknown_outcome,
    a_refusal_hides_an_unknown_outcome,
    attempts_have_no_end,
    writes_without_an_operation_id_are_retried,
    a_retry_ignores_the_deadline,
    unknown_outcomes_are_retried_on_any_backend,
    retries_cost_nothing,
    retry_after_is_ignored,
    calls_have_no_deadline_from_the_settings,
    calls_have_no_deadline_of_their_own,
    a_cancelled_caller_is_taken_for_a_late_one,
    a_late_call_is_taken_for_a_cancelled_one,
    a_late_write_is_taken_for_one_that_was_not_sent,
    calls_that_have_ended_are_timed,
    the_timer_does_not_come_back,
    all_callers_try_a_sick_backend,
    an_open_breaker_stays_open,
)

STAGED: Final[Mapping[Mutant, Scenario]] = {
    lists_and_sums_share_a_key: scenarios.lists_and_sums,
    an_old_answer_outlives_a_write: scenarios.old_answer_after_a_write,
    ended_answers_are_given: scenarios.ended_answer,
    refreshes_outlive_the_cache: scenarios.closing_with_a_refresh,
    a_flight_goes_on_for_callers_that_left: scenarios.last_caller_leaves,
    a_flight_has_its_first_callers_deadline: scenarios.flight_without_a_deadline,
    flights_from_before_a_write_are_not_closed: scenarios.closing_with_a_flight_from_before_a_write,
    a_cancelled_flight_wakes_nobody: scenarios.call_that_is_cancelled_from_below,
    a_batch_without_callers_goes_on: scenarios.batch_for_nobody,
    a_batch_asks_for_callers_that_left: scenarios.one_leaves_a_batch,
    a_batch_has_its_first_callers_deadline: scenarios.batch_with_the_latest_deadline,
    a_batched_caller_has_no_deadline: scenarios.deadline_within_a_batch,
    the_queue_has_no_end: scenarios.full_queue,
    refusals_are_sent_again: scenarios.refusal,
    a_late_call_is_sent: scenarios.late_before_it_was_sent,
    a_call_answered_as_its_alarm_rang_is_cancelled: scenarios.answered_as_the_bell_rang,
    a_call_that_failed_as_its_alarm_rang_is_cancelled: scenarios.failed_as_the_bell_rang,
    a_breaker_never_opens: scenarios.sick_backend,
    a_failed_trial_closes_the_breaker: scenarios.failed_trial,
    a_cancelled_trial_is_never_over: scenarios.trial_given_up,
}
