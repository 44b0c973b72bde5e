"""Protections of the shared cache, each left out by a patch: of what a process does, of its cache, and of the server (the simulated one).

`MUTANTS` are caught by the schedules of the world of `tests.shared_cache`; `TROUBLE` says what goes wrong in the
schedules of a mutant, where that shows it sooner.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import pytest

from interlock.errors import InterlockError
from interlock.layers.keys import Scope
from interlock.layers.shared import Membership, SharedCache
from interlock.layers.shared.store import Found, OutOfReach, Renewal, Renewed, Verdict
from interlock.testing.simulated_store import SimulatedServer, SimulatedStore
from soak.mutants.catching import Mutant

__all__ = ["MUTANTS", "TROUBLE"]

Scopes = tuple[Scope, ...]

# -- what a process does -----------------------------------------------------------------------------------------------


def a_write_is_not_marked_before_it_is_sent(patch: pytest.MonkeyPatch) -> None:
    async def announce(self: Membership, *_: object) -> None:
        while self._now() < self._elsewhere:
            await self._until(self._elsewhere)

    patch.setattr(Membership, "_announce", announce)


def a_write_that_could_not_be_marked_is_sent(patch: pytest.MonkeyPatch) -> None:
    async def announce(self: Membership, scopes: Scopes, operation: str, deadline: float | None) -> None:
        with suppress(OutOfReach):
            await self.store.begin(scopes, operation)

    patch.setattr(Membership, "_announce", announce)


def a_process_that_is_cut_off_does_not_wait(patch: pytest.MonkeyPatch) -> None:
    async def at_once(self: Membership, when: float) -> None:
        self._lapses = self._elsewhere = 0.0

    patch.setattr(Membership, "_until", at_once)


def _saw(patch: pytest.MonkeyPatch, verdict_of: Callable[[Verdict], Verdict], *, any_stamp: bool) -> None:
    """Look at what the server answered as if it were this verdict, or any stamp had been seen before."""
    saw = Membership.saw

    def changed(self: Membership, scope: Scope, verdict: Verdict, stamp: bytes) -> bool:
        if any_stamp:
            self._seen[scope] = stamp
        return saw(self, scope, verdict_of(verdict), stamp)

    patch.setattr(Membership, "saw", changed)


def a_read_joins_older_calls_while_a_write_is_under_way(patch: pytest.MonkeyPatch) -> None:
    _saw(patch, lambda verdict: "serve" if verdict == "pending" else verdict, any_stamp=False)


def a_read_joins_calls_older_than_a_foreign_write(patch: pytest.MonkeyPatch) -> None:
    _saw(patch, lambda verdict: verdict, any_stamp=True)


def a_bypassing_read_joins_older_calls(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Membership, "alone", lambda self, scope: None)


def a_write_is_acknowledged_before_the_server_knows(patch: pytest.MonkeyPatch) -> None:
    end = SimulatedStore.end

    async def never(self: SimulatedStore, scopes: Scopes, operation: str) -> None:
        if not operation:
            await end(self, scopes, operation)

    patch.setattr(SimulatedStore, "end", never)


def a_process_forgets_its_lease(patch: pytest.MonkeyPatch) -> None:
    never = property(lambda self: 0.0, lambda self, _: None)
    patch.setattr(Membership, "_lapses", never, raising=False)


def _finished(patch: pytest.MonkeyPatch, ended: type[BaseException]) -> None:
    """A write that ended so is taken for one that is done."""
    finish = Membership._finish

    def done(self: Membership, operation: str, *, known: bool) -> Any:
        return finish(self, operation, known=known or isinstance(sys.exception(), ended))

    patch.setattr(Membership, "_finish", done)


def a_cancelled_write_is_taken_for_done(patch: pytest.MonkeyPatch) -> None:
    _finished(patch, asyncio.CancelledError)


def an_error_of_the_backend_is_taken_for_a_rejection(patch: pytest.MonkeyPatch) -> None:
    _finished(patch, InterlockError)


def a_foreign_change_is_not_passed_on(patch: pytest.MonkeyPatch) -> None:
    end = SimulatedStore.end

    async def own(self: SimulatedStore, scopes: Scopes, operation: str) -> None:
        if operation:
            await end(self, scopes, operation)

    patch.setattr(SimulatedStore, "end", own)


def kept_answers_are_served_while_a_change_is_passed_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Membership, "may_read", lambda self, scope: self._joined and self.store.connected)


def unsettled_writes_are_not_marked_again(patch: pytest.MonkeyPatch) -> None:
    begin = SimulatedServer.begin

    def only_open(self: SimulatedServer, scopes: Scopes, operation: str) -> None:
        if not operation.endswith("-late"):
            begin(self, scopes, operation)

    patch.setattr(SimulatedServer, "begin", only_open)


# -- what a cache does -------------------------------------------------------------------------------------------------


def an_answer_is_kept_though_the_scope_was_being_written(patch: pytest.MonkeyPatch) -> None:
    load = SharedCache._load

    async def kept(self: SharedCache, request: Any, scope: Scope, key: bytes, found: Found) -> Any:
        return await load(self, request, scope, key, found._replace(verdict="serve"))

    patch.setattr(SharedCache, "_load", kept)


# -- what the server does ----------------------------------------------------------------------------------------------


def kept_answers_are_served_while_a_process_is_cut_off(patch: pytest.MonkeyPatch) -> None:
    verdict = SimulatedServer.verdict

    def without_waiting(self: SimulatedServer, member: str) -> Verdict:
        found = verdict(self, member)
        return "serve" if found == "waiting" else found

    patch.setattr(SimulatedServer, "verdict", without_waiting)


def kept_answers_outlive_writes(patch: pytest.MonkeyPatch) -> None:
    read = SimulatedServer.read

    def of_any_stamp(self: SimulatedServer, member: str, service: str, scope: Scope, key: bytes) -> Found:
        if key in self.entries:
            self.entries[key] = (self.stamp(service, scope), *self.entries[key][1:])
        return read(self, member, service, scope, key)

    patch.setattr(SimulatedServer, "read", of_any_stamp)


def reads_ignore_marks(patch: pytest.MonkeyPatch) -> None:
    read = SimulatedServer.read

    def unmarked(self: SimulatedServer, member: str, service: str, scope: Scope, key: bytes) -> Found:
        marks = self.marks.pop(scope, None)
        found = read(self, member, service, scope, key)
        if marks is not None:
            self.marks[scope] = marks
        return found

    patch.setattr(SimulatedServer, "read", unmarked)


def _removes(patch: pytest.MonkeyPatch, unchanged: str) -> None:
    """Remove processes without a change of this."""
    remove = SimulatedServer.remove

    def removed(self: SimulatedServer, lapsed: dict[str, int]) -> None:
        before = getattr(self, unchanged)
        remove(self, lapsed)
        setattr(self, unchanged, before)

    patch.setattr(SimulatedServer, "remove", removed)


def the_writes_of_a_removed_process_are_not_seen(patch: pytest.MonkeyPatch) -> None:
    _removes(patch, "epoch")


def the_last_writes_of_a_dead_process_are_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    _removes(patch, "quarantine")


def a_new_server_serves_at_once(patch: pytest.MonkeyPatch) -> None:
    renew = SimulatedServer.renew

    def at_once(self: SimulatedServer, renewal: Renewal) -> Renewed:
        settings = self.settings
        if self.members is None:
            self.settings = msgspec.structs.replace(settings, quarantine=0.0)
        renewed = renew(self, renewal)
        self.settings = settings
        return renewed

    patch.setattr(SimulatedServer, "renew", at_once)


def the_others_leases_are_not_remembered(patch: pytest.MonkeyPatch) -> None:
    renew = SimulatedServer.renew

    def alone(self: SimulatedServer, renewal: Renewal) -> Renewed:
        return renew(self, renewal._replace(remembered=()))

    patch.setattr(SimulatedServer, "renew", alone)


def a_clock_that_is_set_back_is_not_noticed(patch: pytest.MonkeyPatch) -> None:
    renew = SimulatedServer.renew

    def unnoticed(self: SimulatedServer, renewal: Renewal) -> Renewed:
        self.clock = 0
        return renew(self, renewal)

    patch.setattr(SimulatedServer, "renew", unnoticed)


def an_evicted_mark_is_taken_for_none(patch: pytest.MonkeyPatch) -> None:
    evict = SimulatedServer.evict

    def unnoticed(self: SimulatedServer, scope: Scope) -> None:
        evict(self, scope)
        self.lost = 0

    patch.setattr(SimulatedServer, "evict", unnoticed)


MUTANTS: Final[tuple[Mutant, ...]] = (
    a_write_is_not_marked_before_it_is_sent,
    a_write_that_could_not_be_marked_is_sent,
    a_process_that_is_cut_off_does_not_wait,
    a_read_joins_older_calls_while_a_write_is_under_way,
    a_read_joins_calls_older_than_a_foreign_write,
    a_bypassing_read_joins_older_calls,
    a_write_is_acknowledged_before_the_server_knows,
    a_process_forgets_its_lease,
    a_cancelled_write_is_taken_for_done,
    an_error_of_the_backend_is_taken_for_a_rejection,
    a_foreign_change_is_not_passed_on,
    kept_answers_are_served_while_a_change_is_passed_on,
    unsettled_writes_are_not_marked_again,
    an_answer_is_kept_though_the_scope_was_being_written,
    kept_answers_are_served_while_a_process_is_cut_off,
    kept_answers_outlive_writes,
    reads_ignore_marks,
    the_writes_of_a_removed_process_are_not_seen,
    the_last_writes_of_a_dead_process_are_not_waited_for,
    a_new_server_serves_at_once,
    the_others_leases_are_not_remembered,
    a_clock_that_is_set_back_is_not_noticed,
    an_evicted_mark_is_taken_for_none,
)

TROUBLE: Final[Mapping[Mutant, Sequence[str]]] = {
    the_others_leases_are_not_remembered: ("all",),
    unsettled_writes_are_not_marked_again: ("restart", "all"),
    the_writes_of_a_removed_process_are_not_seen: ("cut and crash",),
    the_last_writes_of_a_dead_process_are_not_waited_for: ("cut and crash",),
    an_evicted_mark_is_taken_for_none: ("evict",),
    a_clock_that_is_set_back_is_not_noticed: ("clock", "cut"),
    reads_ignore_marks: ("cut",),
    a_process_that_is_cut_off_does_not_wait: ("cut",),
    a_process_forgets_its_lease: ("cut",),
    a_new_server_serves_at_once: ("restart", "all"),
}
