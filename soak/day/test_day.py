"""A day of faults: nothing old, nothing of another tenant, nobody who waits for ever, and nothing that grows. And the day sees what it should."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from functools import cache
from typing import Any

import pytest

from interlock.contract import Request, Response
from interlock.layers.batching import Batch
from interlock.layers.bulkhead import Bulkhead
from interlock.layers.caching import Cache
from interlock.layers.hedging import Hedge
from interlock.layers.retry import Retry
from interlock.layers.shared import Membership, SharedCache
from interlock.layers.single_flight import _Flight
from interlock.testing.simulated_store import SimulatedServer
from soak.day.world import DOWN, FAULTS, TROUBLES, live

Lived = Any


@cache
def lived(shared: bool) -> Lived:
    """A day: of three processes that share a cache, or of one with its own."""
    return live(1, shared=shared, processes=3 if shared else 1)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "in one process"])
def test_a_day_of_faults(shared: bool, figures: dict[str, int]) -> None:
    seen, held, _ = lived(shared)
    figures.update(hours=len(held), calls=seen["calls"], faults=sum(seen[name] for name in (*FAULTS, *TROUBLES)))
    assert len(held) == 24
    for name in ("flights", "batches", "places", "queue", "refreshes", "second calls", "trials", "timed calls"):
        assert all(hour[name] == 0 for hour in held), name
    for name in ("tasks", "timers", "steps", "layers told"):
        assert held[23][name] <= held[1][name], name
    least = dict.fromkeys((*FAULTS, *(TROUBLES if shared else ("pause",))), 50)
    least |= {"open": 20, "half_open": 20, "closed": 20, "overlaps": 100, "calls": 150_000 if shared else 50_000}
    least |= {"kept": 10_000, "retries": 2000, "sent": 500, "won": 100, "429": 2000, "hung calls": 1000}
    least |= {"joined": 2000, "stale": 3, "landed late": 50, "outcome_unknown": 100, "deadline_exceeded": 1000}
    least |= {"bypassed": 20_000, "held writes": 30} if shared else {"streams broken": 300, "echoes": 2000}
    assert {name: seen[name] for name, count in least.items() if seen[name] < count} == {}


def test_without_the_server_calls_succeed_as_with_it() -> None:
    _, _, fair = lived(True)
    for hour in DOWN:
        up, down = fair[hour - 1], fair[hour]
        assert up["calls"] > 2000 < down["calls"]
        assert up["kept"] > 300
        assert down["kept"] == 0
        for one in (up, down):
            assert one["sound"] > 500
        assert down["sound and good"] / down["sound"] > up["sound and good"] / up["sound"] - 0.01, "the backend is well"


# -- what the day must see ---------------------------------------------------------------------------------------------


def _flights_stay(patch: pytest.MonkeyPatch) -> None:
    def land(self: _Flight) -> None:
        self.landed = True

    patch.setattr(_Flight, "land", land)


def _refreshes_never_end(patch: pytest.MonkeyPatch) -> None:
    async def again(*_: object) -> None:
        await asyncio.get_running_loop().create_future()

    patch.setattr(SharedCache, "_again", again)
    patch.setattr(Cache, "_again", again)


def _a_place_is_lost_with_its_caller(patch: pytest.MonkeyPatch) -> None:
    async def handle(self: Bulkhead, request: Request) -> Response:
        if self.in_use >= self._most:
            await self._place(request)
        else:
            self.in_use += 1
        try:
            answer = await self._inner(request)
        except Exception:
            self._leave()
            raise
        self._leave()
        return answer

    patch.setattr(Bulkhead, "handle", handle)


def _a_place_is_not_handed_on(patch: pytest.MonkeyPatch) -> None:
    def leave(self: Bulkhead) -> None:
        self.in_use -= 1

    patch.setattr(Bulkhead, "_leave", leave)


def _what_is_written_stays(patch: pytest.MonkeyPatch) -> None:
    finish = Membership._finish

    async def kept(self: Membership, operation: str, *, known: bool) -> None:
        scopes = self._open[operation]
        await finish(self, operation, known=known)
        self._open[operation] = scopes

    patch.setattr(Membership, "_finish", kept)


def _no_mark(patch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> None:
        return

    patch.setattr(SimulatedServer, "begin", nothing)
    patch.setattr(SimulatedServer, "end", nothing)


def _nobody_is_held_back(patch: pytest.MonkeyPatch) -> None:
    async def at_once(self: Membership, when: float) -> None:
        self._lapses = self._elsewhere = 0.0

    patch.setattr(Membership, "_until", at_once)


def _batches_stay(patch: pytest.MonkeyPatch) -> None:
    def close(self: Batch, gathering: object) -> None:
        return

    patch.setattr(Batch, "_close", close)


def _second_calls_stay(patch: pytest.MonkeyPatch) -> None:
    init = Hedge.__init__

    def leaky(self: Hedge, *parts: Any) -> None:
        init(self, *parts)

        class Kept(set[Any]):
            def discard(self, _: Any) -> None:
                return

        self._seconds = Kept()

    patch.setattr(Hedge, "__init__", leaky)


def _a_wait_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    draw = random.Random(3)
    handle = Retry.handle

    async def forgetful(self: Retry, request: Request) -> Response:
        if draw.random() < 0.02 and request.verb == "update":
            asyncio.get_running_loop().call_later(400, (place := asyncio.get_running_loop().create_future()).cancel)
            while not place.done():
                try:
                    await asyncio.shield(place)
                except asyncio.CancelledError:
                    continue
        return await handle(self, request)

    patch.setattr(Retry, "handle", forgetful)


@pytest.mark.parametrize(
    ("mutation", "shared", "seen"),
    [
        (_flights_stay, True, "all was well"),
        (_flights_stay, False, "for ever|nobody can go on"),
        (_refreshes_never_end, True, "refreshes"),
        (_refreshes_never_end, False, "refreshes"),
        (_a_place_is_lost_with_its_caller, False, "all was well"),
        (_a_place_is_not_handed_on, False, "all was well"),
        (_what_is_written_stays, True, "writes"),
        (_no_mark, True, "was known"),
        (_nobody_is_held_back, True, "was known"),
        (_batches_stay, False, "for ever|nobody can go on"),
        (_second_calls_stay, False, "second calls"),
        (_a_wait_is_forgotten, False, "took 400"),
    ],
)
def test_the_day_sees(
    mutation: Any, shared: bool, seen: str, monkeypatch: pytest.MonkeyPatch, figures: dict[str, int]
) -> None:
    mutation(monkeypatch)
    # What a mutant leaves running is torn apart with its loop; that is no fault of this test.
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with pytest.raises(AssertionError, match=seen):
            live(1, hours=3, shared=shared, processes=3 if shared else 1)
        figures["mutants caught"] = 1
    finally:
        gc.collect()
        sys.unraisablehook = hook
