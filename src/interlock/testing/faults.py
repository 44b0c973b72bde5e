"""Trouble on demand: a backend around a backend, slow or failing as told.

What it answers is what a real server answers on a bad day, and never more: a call that fails as unavailable or rate limited wrote
nothing; a lost answer is one whose write has taken effect, so that the same operation id finds its first outcome.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from random import Random
from typing import Any, Final, Literal, get_args

import msgspec

from interlock import abilities
from interlock.contract import Backend, Outcome, Request, Response, Verb
from interlock.errors import Conflict, DeadlineExceeded, Invalid, NotFound, OutcomeUnknown, RateLimited, Unavailable

__all__ = ["VERBS", "Fault", "Faults", "Rates"]

Fault = Literal["unavailable", "rate_limited", "conflict", "lost"]
"""`conflict` befalls updates alone, `lost` (an answer, after its write) writes alone."""

VERBS: Final[frozenset[Verb]] = frozenset(get_args(Verb))
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
READS: Final[frozenset[Verb]] = frozenset({"find", "get", "aggregate"})
REMEMBERED: Final = 10_000
"""Operation ids of updates whose first answer is kept, at most."""

Sleep = Callable[[float], Awaitable[Any]]


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How slow, and which share of the calls meets which fault; `latency` is in seconds, shares are from 0 to 1.

    Holds for the calls of these verbs and resources; without resources, for all of them. Raises `Invalid` for a share that is none.
    """

    latency: float = 0.0
    unavailable: float = 0.0
    rate_limited: float = 0.0
    conflict: float = 0.0
    lost: float = 0.0
    verbs: frozenset[Verb] = VERBS
    resources: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        bad: dict[str, str] = {name: "give a share from 0 to 1" for name in FAULTS if not 0 <= getattr(self, name) <= 1}
        if not 0 <= self.latency < float("inf"):
            bad["latency"] = "give seconds, 0 or more"
        if bad:
            raise Invalid(bad)

    @property
    def trouble(self) -> bool:
        """True where any call may be slow or fail."""
        return any((self.latency, self.unavailable, self.rate_limited, self.conflict, self.lost))

    def hold_for(self, request: Request) -> bool:
        """True where these rates are meant for the request."""
        return request.verb in self.verbs and (not self.resources or request.resource in self.resources)


class _Step(msgspec.Struct, frozen=True):
    """What the script has for one call to come."""

    fault: Fault | None
    verbs: frozenset[Verb]
    resources: frozenset[str]

    def suits(self, request: Request) -> bool:
        held = request.verb in self.verbs and (not self.resources or request.resource in self.resources)
        return held and (self.fault is None or _may_meet(self.fault, request.verb))


NONE: Final = Rates()


class Faults:
    """A backend that is slow and fails as told, and otherwise is the backend that it wraps, abilities included.

    Of several rates the first that hold for a call count: put the narrow ones first. `seed` decides which calls fail; `made` counts
    what befell. Only `handle` is troubled: probes, files' bytes and feeds of changes pass untouched.
    """

    def __init__(self, backend: Backend, *rates: Rates, seed: int = 0, sleep: Sleep = asyncio.sleep) -> None:
        self.backend = backend
        self.made: Counter[Fault] = Counter()
        self._rates = rates
        self._random = Random(seed)  # noqa: S311  # draws faults, no secrets
        self._sleep = sleep
        self._script: list[_Step] = []
        self._answered: dict[tuple[str, str], tuple[Outcome, ...] | None] = {}
        # Attributes of the instance, since isinstance() of a Protocol asks no __getattr__ from Python 3.12 on.
        for name in _methods_of_abilities():
            if hasattr(backend, name):
                setattr(self, name, getattr(backend, name))

    def __repr__(self) -> str:
        return f"Faults({self.backend!r})"

    def script(
        self, *faults: Fault | None, verbs: Collection[Verb] = VERBS, resources: Collection[str] = frozenset()
    ) -> None:
        """The next calls of these verbs and resources meet these faults, one each, whatever the rates; None lets one pass.

        A fault waits for a call that it may befall. Raises `Invalid` for a fault that does not exist.
        """
        unknown = [fault for fault in faults if fault is not None and fault not in FAULTS]
        if unknown:
            raise Invalid({"faults": f"{unknown[0]!r} does not exist; choose {', '.join(FAULTS)} or None"})
        self._script += [_Step(fault, frozenset(verbs), frozenset(resources)) for fault in faults]

    async def handle(self, request: Request) -> Response:
        """Answer one request, or meet what was told. Raises `DeadlineExceeded` where the latency outlasts the deadline."""
        rates = next((rates for rates in self._rates if rates.hold_for(request)), NONE)
        fault = self._next(request, rates)
        await self._wait(rates.latency, request.deadline)
        if fault == "unavailable":
            self.made[fault] += 1
            raise Unavailable("the backend did not answer: it was told to fail", retry_after=1.0)
        if fault == "rate_limited":
            self.made[fault] += 1
            raise RateLimited
        if request.verb == "update" and (outcomes := await self._conflicts(request, fault)) is not None:
            return Response(outcomes=outcomes, backend=getattr(self.backend, "name", ""), epoch=request.epoch)
        response = await self.backend.handle(request)
        if fault == "lost":
            self.made[fault] += 1
            raise OutcomeUnknown(request.operation_id)
        return response

    def _next(self, request: Request, rates: Rates) -> Fault | None:
        for place, step in enumerate(self._script):
            if step.suits(request):
                del self._script[place]
                return step.fault
        for fault in FAULTS:
            rate = getattr(rates, fault)
            if rate and _may_meet(fault, request.verb) and self._random.random() < rate:
                return fault
        return None

    async def _wait(self, latency: float, deadline: float | None) -> None:
        if not latency:
            return
        left = latency if deadline is None else deadline - asyncio.get_running_loop().time()
        if left < latency:
            await self._sleep(max(left, 0.0))
            raise DeadlineExceeded
        await self._sleep(latency)

    async def _conflicts(self, request: Request, fault: Fault | None) -> tuple[Outcome, ...] | None:
        """The outcomes of an update that meets a conflict, None for one that is to be handled.

        An operation id keeps its first answer: what was once handled meets no conflict later, and a conflict stays one.
        """
        operation = (request.identity.tenant_id, request.operation_id)
        if request.operation_id and operation in self._answered:
            return self._answered[operation]
        outcomes = await self._conflict(request) if fault == "conflict" else None
        if request.operation_id:
            while len(self._answered) >= REMEMBERED:
                del self._answered[next(iter(self._answered))]
            self._answered[operation] = outcomes
        return outcomes

    async def _conflict(self, request: Request) -> tuple[Outcome, ...]:
        self.made["conflict"] += 1
        get = Request("get", request.resource, request.identity, ids=request.ids, epoch=request.epoch)
        current = {row.id: row for row in (await self.backend.handle(get)).rows}
        return tuple(
            Outcome(key, error=_told(request, key, current[key]) if key in current else NotFound(request.resource, key))
            for key in request.ids
        )


def _may_meet(fault: Fault, verb: Verb) -> bool:
    if fault == "conflict":
        return verb == "update"
    return fault != "lost" or verb not in READS


def _told(request: Request, id: str, current: Any) -> Conflict:
    error = Conflict(request.resource, id, request.expected_version, current)
    # The row is where the caller expects it, so the usual message would contradict itself.
    error.message = f"{request.resource} {id}: a conflict, as the backend was told; read it again"
    error.args = (error.message,)
    return error


def _methods_of_abilities() -> frozenset[str]:
    kinds = (getattr(abilities, name) for name in abilities.__all__)
    protocols = (kind for kind in kinds if getattr(kind, "_is_runtime_protocol", False))
    return frozenset(name for kind in protocols for name in vars(kind) if not name.startswith("_"))
