"""The meter: how long each call took, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Final, Literal, Protocol, get_args

from interlock.contract import Backend, Request, Response, Verb
from interlock.errors import InterlockError, OutcomeUnknown, RateLimited
from interlock.layers.keys import Keeps

__all__ = ["Counts", "Meter", "Role", "outcome_of"]

Role = Literal["primary", "mirror", "shadow"]
"""Whether a backend answers the callers, is written beside the one that does, or is only compared with it."""

VERBS: Final[tuple[Verb, ...]] = get_args(Verb)


class Counts(Protocol):
    """What a meter writes into: for a verb and an outcome, the function that is told the seconds of each such call."""

    def of(self, verb: Verb, outcome: str) -> Callable[[float], None]: ...


class Meter:
    """Tells the counts of each call. Those of calls that end well are looked up beforehand: a call costs two looks at the clock and one count."""

    def __init__(self, inner: Backend, counts: Counts) -> None:
        self._inner = inner.handle
        self._inner_at_hand = inner.at_hand if isinstance(inner, Keeps) else None
        self._counts = counts
        self._well = {verb: counts.of(verb, "ok") for verb in VERBS}
        self._well_got = self._well["get"]

    def at_hand(self, request: Request) -> Response | None:
        """What the inner layer has at hand."""
        if self._inner_at_hand is None:
            return None
        began = perf_counter()
        answer = self._inner_at_hand(request)
        if answer is not None:
            self._well_got(perf_counter() - began)
        return answer

    async def handle(self, request: Request) -> Response:
        """The inner answer."""
        began = perf_counter()
        try:
            answer = await self._inner(request)
        except BaseException as error:
            self._counts.of(request.verb, outcome_of(error))(perf_counter() - began)
            raise
        if answer.outcomes and answer.outcomes[0].error is not None and all(one.error for one in answer.outcomes):
            self._counts.of(request.verb, outcome_of(answer.outcomes[0].error))(perf_counter() - began)
        else:
            self._well[request.verb](perf_counter() - began)
        return answer


def outcome_of(error: BaseException) -> str:
    """How a call ended, in one of a few words.

    `rejected`: the request was wrong, or not allowed; the backend answered. `unknown`: a write that may have been carried out. `cancelled`: its caller left.
    `internal`: an error that nobody foresaw. Else the error's code.
    """
    if isinstance(error, OutcomeUnknown):
        return "unknown"
    if isinstance(error, InterlockError):
        return "rejected" if error.status < 500 and not isinstance(error, RateLimited) else error.code
    return "internal" if isinstance(error, Exception) else "cancelled"
