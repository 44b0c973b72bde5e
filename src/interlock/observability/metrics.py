"""What the application counts: calls by the meter, and what the layers of each route count by themselves, read when somebody asks.

No label holds a tenant, a user, a record's id or anything that a caller wrote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from interlock.abilities import Health
from interlock.contract import Backend, Verb
from interlock.layers.meter import Role
from interlock.layers.retry import Budget
from interlock.observability.durations import Durations, quantile

__all__ = ["HTTP", "OPERATIONS", "CallStats", "Kind", "Metrics", "Reading", "Recorder", "RouteStats"]

Kind = Literal["counter", "gauge"]

OPERATIONS: Final = "interlock_operation_duration_seconds"
HTTP: Final = "http_server_request_duration_seconds"

ABOUT: Final[Mapping[str, tuple[Kind, str]]] = MappingProxyType(
    {
        "interlock_cache_requests_total": ("counter", "Reads that came to a cache, by whether it had the answer."),
        "interlock_cache_entries": ("gauge", "Answers that a cache keeps."),
        "interlock_cache_bypassed": ("gauge", "1 while the shared cache is passed by, because its server is away."),
        "interlock_singleflight_joined_total": ("counter", "Reads that shared the call of an equal one."),
        "interlock_batched_gets_total": ("counter", "Gets that came to the batch."),
        "interlock_batches_total": ("counter", "Calls that the batch made of them."),
        "interlock_hedges_total": (
            "counter",
            "Late reads that were sent a second time, and of those the ones answered first.",
        ),
        "interlock_retries_total": ("counter", "Attempts after a call's first."),
        "interlock_retry_budget_ratio": ("gauge", "The part of a backend's budget of retries that is left."),
        "interlock_bulkhead_in_use": ("gauge", "Calls that run at a backend."),
        "interlock_bulkhead_queued": ("gauge", "Calls that wait for a place at a backend."),
        "interlock_breaker_state": ("gauge", "1 for the state that a breaker is in."),
        "interlock_backend_up": ("gauge", "1 where a backend in use answered its last probe."),
        "interlock_backend_probe_seconds": ("gauge", "How long a backend's last probe took."),
        "interlock_route_info": ("gauge", "1 for the backend that serves a service."),
        "interlock_route_epoch": ("gauge", "The epoch of a service's route."),
        "interlock_switch_total": ("counter", "Switches of a service to another backend."),
        "interlock_unforeseen_errors_total": (
            "counter",
            "Errors that are none of Interlock's own, by where they were met.",
        ),
    }
)
"""Every metric that is read when asked for, with its kind and its help."""

_BREAKER: Final = ("closed", "half_open", "open")
_ROUTE: Final = ("service", "backend")


class Reading(msgspec.Struct, frozen=True):
    """One value of one metric, under its labels."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class CallStats(msgspec.Struct, frozen=True):
    """Calls of one verb of one service at one backend. `errors` counts those that the backend failed, `rejected` those that it refused.

    The percentiles are in seconds, estimated within the histogram's buckets; None where nothing was called.
    """

    service: str
    operation: str
    backend: str
    role: str
    calls: int
    errors: int
    rejected: int
    seconds: float
    p50: float | None
    p95: float | None
    p99: float | None


class RouteStats(msgspec.Struct, frozen=True):
    """What the layers of a service's route say. `cache_hit_rate` is None without a cache, or before its first read; `breaker` is "" without one."""

    service: str
    backend: str
    epoch: int
    cache_hits: int
    cache_misses: int
    cache_hit_rate: float | None
    joined: int
    retries: int
    breaker: str
    in_use: int
    queued: int


class Metrics(msgspec.Struct, frozen=True):
    """Everything that was counted, for programs that run Interlock in their own process. `backends` says whether each answered its last probe."""

    calls: tuple[CallStats, ...]
    routes: tuple[RouteStats, ...]
    backends: Mapping[str, bool]
    switches: int
    unforeseen: int


class _Route(msgspec.Struct, frozen=True):
    """A route whose layers are read."""

    service: str
    backend: str
    epoch: int
    layers: Mapping[str, Backend]
    budget: Budget | None

    def number(self, layer: str, name: str) -> int | None:
        """A layer's count, None where there is no such layer, or it does not count this."""
        found = getattr(self.layers.get(layer), name, None)
        return found if isinstance(found, int) else None

    @property
    def breaker(self) -> str:
        """The state of the breaker."""
        return str(getattr(self.layers.get("breaker"), "state", ""))


_COUNTED: Final = (
    ("interlock_cache_requests_total", "cache", "hits", "hit"),
    ("interlock_cache_requests_total", "cache", "misses", "miss"),
    ("interlock_cache_requests_total", "cache", "bypassed", "bypassed"),
    ("interlock_singleflight_joined_total", "single_flight", "joined", ""),
    ("interlock_batched_gets_total", "batch", "gets", ""),
    ("interlock_batches_total", "batch", "batches", ""),
    ("interlock_hedges_total", "hedge", "sent", "sent"),
    ("interlock_hedges_total", "hedge", "won", "won"),
    ("interlock_retries_total", "retry", "retries", ""),
)
"""Counts of the layers: the metric, the layer, its attribute, and the label `result`."""

_HELD: Final = (
    ("interlock_cache_entries", "cache", "kept"),
    ("interlock_bulkhead_in_use", "bulkhead", "in_use"),
    ("interlock_bulkhead_queued", "bulkhead", "queued"),
)
"""What the layers hold now."""


class _Bound:
    """The histogram of one route's calls, as its meter writes into it."""

    def __init__(self, durations: Durations, service: str, backend: str, role: Role) -> None:
        self._durations = durations
        self._service = service
        self._backend = backend
        self._role = role

    def of(self, verb: Verb, outcome: str) -> Callable[[float], None]:
        """The function that counts a call that ended so."""
        return self._durations.of(self._service, verb, self._backend, self._role, outcome).observe


class Recorder:
    """Holds the counts of one application."""

    def __init__(self) -> None:
        self.operations = Durations(
            OPERATIONS,
            "Time of a call of a service, with all its layers.",
            ("service", "operation", "backend", "role", "outcome"),
        )
        self.http = Durations(
            HTTP,
            "Time until the answer to a call began.",
            ("http_request_method", "http_route", "http_response_status_code"),
        )
        self._routes: dict[tuple[str, int], _Route] = {}
        self._ended: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        """What the layers of routes that are gone had counted: a counter never goes back."""
        self._health: dict[str, Health] = {}
        self._switches: Counter[tuple[str, str]] = Counter()
        self._unforeseen: Counter[str] = Counter({"call": 0, "gateway": 0})

    # -- being told -----------------------------------------------------------------------------------------------

    def counts(self, service: str, backend: str, role: Role = "primary") -> _Bound:
        """What the meter of a route counts into."""
        return _Bound(self.operations, service, backend, role)

    def opened(
        self, service: str, backend: str, epoch: int, layers: Mapping[str, Backend], budget: Budget | None = None
    ) -> None:
        """A route has these layers, by name. `budget` is what its retries share with the backend's other routes."""
        self._routes[service, epoch] = _Route(service, backend, epoch, layers, budget)

    def closed(self, service: str, epoch: int) -> None:
        """A route has gone; what it counted stays counted."""
        route = self._routes.pop((service, epoch), None)
        if route is not None:
            self._ended.update({(one.name, one.labels): int(one.value) for one in _counted(route)})

    def probed(self, backend: str, health: Health) -> None:
        """What a probe of a backend found."""
        self._health[backend] = health

    def switched(self, service: str, result: str = "turned") -> None:
        """A service was switched to another backend, or that was given up."""
        self._switches[service, result] += 1

    def unforeseen(self, where: str) -> None:
        """An error that nobody foresaw was met."""
        self._unforeseen[where] += 1

    # -- being asked ----------------------------------------------------------------------------------------------

    def readings(self) -> Iterator[Reading]:
        """Every value, beside the histograms."""
        counted = Counter(self._ended)
        for route in self._routes.values():
            counted.update({(one.name, one.labels): int(one.value) for one in _counted(route)})
        yield from (Reading(name, labels, value) for (name, labels), value in counted.items())
        held: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        for route in self._routes.values():
            held.update(dict(_held(route)))
        yield from (Reading(name, labels, value) for (name, labels), value in held.items())
        for route in self._current():
            yield from _state(route)
        for backend, budget in {route.backend: route.budget for route in self._routes.values()}.items():
            left = getattr(budget, "left", None)
            if left is not None:
                yield Reading("interlock_retry_budget_ratio", (("backend", backend),), left)
        for backend, health in self._probed():
            labels = (("backend", backend),)
            yield Reading("interlock_backend_up", labels, float(health.healthy))
            yield Reading("interlock_backend_probe_seconds", labels, health.latency)
        for (service, result), number in self._switches.items():
            yield Reading("interlock_switch_total", (("service", service), ("result", result)), number)
        for where, number in self._unforeseen.items():
            yield Reading("interlock_unforeseen_errors_total", (("where", where),), number)

    def snapshot(self) -> Metrics:
        """Everything counted so far, for programs."""
        return Metrics(
            calls=tuple(self._calls()),
            routes=tuple(_stats(route) for route in self._current()),
            backends=MappingProxyType({name: health.healthy for name, health in self._probed()}),
            switches=sum(self._switches.values()),
            unforeseen=sum(self._unforeseen.values()),
        )

    def _probed(self) -> list[tuple[str, Health]]:
        """The backends that routes lead to: nobody asks any more after one that was switched away from."""
        used = {route.backend for route in self._routes.values()}
        return [(name, health) for name, health in self._health.items() if name in used]

    def _current(self) -> list[_Route]:
        """Of each service the newest route."""
        newest: dict[str, _Route] = {}
        for route in self._routes.values():
            if route.service not in newest or newest[route.service].epoch < route.epoch:
                newest[route.service] = route
        return list(newest.values())

    def _calls(self) -> Iterator[CallStats]:
        bounds = self.operations.bounds
        by_call: dict[tuple[str, ...], dict[str, tuple[list[int], float]]] = {}
        for (*labels, outcome), series in self.operations:
            by_call.setdefault(tuple(labels), {})[outcome] = (series.buckets, series.seconds)
        for call, outcomes in by_call.items():
            together = [sum(column) for column in zip(*(buckets for buckets, _ in outcomes.values()), strict=True)]
            number = {outcome: sum(buckets) for outcome, (buckets, _) in outcomes.items()}
            calls, rejected = sum(number.values()), number.get("rejected", 0)
            service, operation, backend, role = call
            yield CallStats(
                service=service,
                operation=operation,
                backend=backend,
                role=role,
                calls=calls,
                errors=calls - rejected - number.get("ok", 0) - number.get("cancelled", 0),
                rejected=rejected,
                seconds=sum(seconds for _, seconds in outcomes.values()),
                p50=quantile(0.5, bounds, together),
                p95=quantile(0.95, bounds, together),
                p99=quantile(0.99, bounds, together),
            )


def _labels(route: _Route, **more: str) -> tuple[tuple[str, str], ...]:
    return (("service", route.service), ("backend", route.backend), *more.items())


def _counted(route: _Route) -> Iterator[Reading]:
    for name, layer, attribute, result in _COUNTED:
        number = route.number(layer, attribute)
        if number is not None:
            yield Reading(name, _labels(route, result=result) if result else _labels(route), number)


def _held(route: _Route) -> Iterator[tuple[tuple[str, tuple[tuple[str, str], ...]], int]]:
    for name, layer, attribute in _HELD:
        number = route.number(layer, attribute)
        if number is not None:
            yield (name, _labels(route)), number


def _state(route: _Route) -> Iterator[Reading]:
    yield Reading("interlock_route_info", _labels(route), 1)
    yield Reading("interlock_route_epoch", (("service", route.service),), route.epoch)
    if route.breaker:
        for state in _BREAKER:
            yield Reading("interlock_breaker_state", _labels(route, state=state), float(route.breaker == state))
    cache = getattr(route.layers.get("cache"), "state", None)
    if isinstance(cache, str):
        yield Reading("interlock_cache_bypassed", _labels(route), float(cache.startswith("bypassed")))


def _stats(route: _Route) -> RouteStats:
    hits, misses = route.number("cache", "hits") or 0, route.number("cache", "misses") or 0
    return RouteStats(
        service=route.service,
        backend=route.backend,
        epoch=route.epoch,
        cache_hits=hits,
        cache_misses=misses,
        cache_hit_rate=hits / (hits + misses) if hits + misses else None,
        joined=route.number("single_flight", "joined") or 0,
        retries=route.number("retry", "retries") or 0,
        breaker=route.breaker,
        in_use=route.number("bulkhead", "in_use") or 0,
        queued=route.number("bulkhead", "queued") or 0,
    )
