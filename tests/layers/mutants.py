"""Ways of leaving a protecting line out. Each must be caught by the races; one that is not shows a hole in the races, or a line that protects nothing."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MUTANTS", "Mutant"]


class Mutant(NamedTuple):
    """In a module of the layers, `old` stands once and becomes `new`."""

    name: str
    module: str
    old: str
    new: str


MUTANTS = (
    Mutant("a fill is kept whatever was written meanwhile", "caching", "if held.writes == writes and", "if"),
    Mutant("writes are not counted", "caching", "held.writes += 1", "held.writes += 0"),
    Mutant("lists outlive writes", "caching", "            held.lists.clear()\n            for", "            for"),
    Mutant("gets outlive writes", "caching", "held.gets.pop(key, None)", "held.gets.get(key)"),
    Mutant("gets are not found by record", "caching", "held.of_record.setdefault(record_id, set()).add(key)", "pass"),
    Mutant("fills are kept while a write may still land", "caching", "if not self._told.settled(scope):", "if False:"),
    Mutant(
        "a write that was given up is taken for no write",
        "caching",
        "        except BaseException:\n            self._told.written(request, known=False)\n            raise",
        "        except BaseException:\n            raise",
    ),
    Mutant("an error of the backend is taken for a rejection", "caching", "known=error.status < 500", "known=True"),
    Mutant(
        "tenants share the cache",
        "caching",
        "scope = (request.identity.tenant_id, request.resource)",
        'scope = ("", request.resource)',
    ),
    Mutant(
        "tenants share flights",
        "single_flight",
        "flights = self._flights.get(scope)",
        'scope = ("", request.resource)\n        flights = self._flights.get(scope)',
    ),
    Mutant("flights outlive writes", "single_flight", "self._flights.pop(scope, None)", "pass"),
    Mutant(
        "what is about to be cancelled is joined",
        "single_flight",
        "                flight.land()\n                flight.stop()",
        "                flight.stop()",
    ),
    Mutant("a failed flight tells nobody", "single_flight", "flight.set_exception(error)", "pass"),
    Mutant("tenants share batches", "batching", "key = (request.identity, request.resource", "key = (request.resource"),
    Mutant("a batch that was sent is joined", "batching", "            del self._open[key]", "            pass"),
    Mutant(
        "a batch answers by position",
        "batching",
        "found = tuple(rows[one] for one in dict.fromkeys(request.ids) if one in rows)",
        "found = answer.rows[: len(request.ids)]",
    ),
    Mutant(
        "only one route is told",
        "invalidation",
        "        for layer in tuple(self._layers):\n            layer.forget",
        "        for layer in list(self._layers)[:1]:\n            layer.forget",
    ),
    Mutant(
        "an unknown outcome is forgotten", "invalidation", "self._unsettled[scope] = self._now() + self._settle", "pass"
    ),
)
