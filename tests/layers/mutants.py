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
    Mutant("gets outlive writes", "caching", "held.gets.pop(key).ids", "held.gets[key].ids"),
    Mutant("gets are not found by record", "caching", "of_record[record_id] = {key}", "pass"),
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
        "                flight.land()\n                self._stop(flight)",
        "                self._stop(flight)",
    ),
    Mutant("a failed flight tells nobody", "single_flight", "flight.set_exception(error)", "pass"),
    Mutant("tenants share batches", "batching", "key = (who.tenant_id, who.user_id, who.role, who.email, ", "key = ("),
    Mutant("users share the cache", "caching", "self._whose(request.identity)", '""'),
    Mutant("users share flights", "single_flight", "self._whose(request.identity)", '""'),
    Mutant("roles share answers", "keys", "return identity.role", 'return ""'),
    Mutant("users of a role share answers", "keys", "return (identity.user_id, identity.role)", "return identity.role"),
    Mutant(
        "gets share a key whatever they ask for",
        "keys",
        '(whose, "get", request.ids,',
        '(whose, "get", len(request.ids),',
    ),
    Mutant("lists and sums share a key", "keys", "(whose, request.verb, request.query, request.aggregate)", "(whose,)"),
    Mutant("a fill is kept in a scope that is gone", "caching", " and self._scopes.get(scope) is held:", ":"),
    Mutant("an accepted write drops nothing", "caching", "        self._told.written(request, known=True)\n", ""),
    Mutant(
        "created records are not written",
        "invalidation",
        "(request.ids or tuple(row.id for row in request.rows)) if known else None",
        "request.ids if known else None",
    ),
    Mutant("a resync is taken for one record", "invalidation", 'None if change.kind == "resync" else ', ""),
    Mutant("an old answer outlives a write", "caching", "held.entry(request, key) is not old or now", "now"),
    Mutant("answers that ended are given", "caching", "if now < entry.ends:", "if True:"),
    Mutant(
        "what an evicted scope held is counted", "caching", "            self.kept -= len(gone)", "            pass"
    ),
    Mutant("nothing makes room", "caching", "            self._make_room()", "            pass"),
    Mutant(
        "a get of several is not forgotten by the others",
        "caching",
        "            keys.discard(key)",
        "            pass",
    ),
    Mutant(
        "refreshes outlive the cache",
        "caching",
        "            task.cancel()\n        await asyncio.gather(",
        "            pass\n        await asyncio.gather(",
    ),
    Mutant(
        "a flight ends with its first caller",
        "single_flight",
        "if not flight.waiting and not flight.landed:",
        "if not flight.landed:",
    ),
    Mutant("a caller that left is waited for", "single_flight", "flight.waiting.pop(place, None)", "pass"),
    Mutant(
        "a flight has its first caller's deadline",
        "single_flight",
        "request = msgspec.structs.replace(request, deadline=None)",
        "pass",
    ),
    Mutant(
        "a follower has no deadline",
        "single_flight",
        "None if request.deadline is None else loop.call_at(request.deadline, _late, place)",
        "None",
    ),
    Mutant("a landed flight is joined", "single_flight", "            del among[self._key]\n", "            pass\n"),
    Mutant(
        "flights from before a write are not closed",
        "single_flight",
        "            self._flying.add(flight)",
        "            pass",
    ),
    Mutant(
        "a cancelled flight tells nobody",
        "single_flight",
        "            flight.cancel()\n        except",
        "            pass\n        except",
    ),
    Mutant(
        "a failed batch tells nobody",
        "batching",
        "            for _, place in asked:\n                _fail(place, error)\n            return\n        except",
        "            return\n        except",
    ),
    Mutant("one bad id fails all", "batching", "if error.status < 500:", "if False:"),
    Mutant("a batch goes on for nobody", "batching", "            self.task.cancel()", "            pass"),
    Mutant(
        "a batch ends with the first that leaves", "batching", "all(place.done() for _, place in self.asked)", "True"
    ),
    Mutant("who left a batch is asked for", "batching", "if not one[1].done()]", "if True]"),
    Mutant("a batch has its first caller's deadline", "batching", "ids=ids, deadline=latest", "ids=ids"),
    Mutant(
        "a batched caller has no deadline",
        "batching",
        "None if request.deadline is None else loop.call_at(request.deadline, _late, place)",
        "None",
    ),
    Mutant(
        "who stayed alone is still joined",
        "batching",
        "                self._close(gathering)\n        return not",
        "                pass\n        return not",
    ),
    Mutant("a bulkhead lets everybody in", "bulkhead", "if self.in_use >= self._most:", "if False:"),
    Mutant("the queue has no end", "bulkhead", "if len(self._queue) >= self._waiting:", "if False:"),
    Mutant(
        "a place given is lost when its taker was cancelled",
        "bulkhead",
        "                self._leave()  # the place had just been given, and is not taken",
        "                pass",
    ),
    Mutant(
        "those who left are waited for", "bulkhead", "                self._queue.remove(place)", "                pass"
    ),
    Mutant(
        "a place is handed to who left",
        "bulkhead",
        "            if not place.done():\n                place.set_result",
        "            if True:\n                place.set_result",
    ),
    Mutant(
        "a place is given twice",
        "bulkhead",
        "                place.set_result(None)\n                return",
        "                place.set_result(None)",
    ),
    Mutant(
        "the last to come is the first to go in",
        "bulkhead",
        "place = self._queue.popleft()",
        "place = self._queue.pop()",
    ),
    Mutant(
        "who waits has no deadline",
        "bulkhead",
        "            timer = loop.call_at(request.deadline, _give_up, place)",
        "            pass",
    ),
    Mutant(
        "a failed call keeps its place",
        "bulkhead",
        "        finally:\n            self._leave()",
        "        except ZeroDivisionError:\n            self._leave()",
    ),
    Mutant("the last attempt hides an unknown outcome", "retry", "if unknown and not", "if False and not"),
    Mutant(
        "a refusal hides an unknown outcome", "retry", "except InterlockError as error:", "except _PASSING as error:"
    ),
    Mutant("attempts have no end", "retry", " or attempt >= settings.attempts", ""),
    Mutant(
        "writes are repeated that nobody knows again",
        "retry",
        "if not (request.verb in READS or request.operation_id):",
        "if False:",
    ),
    Mutant(
        "writes are repeated that the backend would not know again", "retry", "if not self._repeats and", "if False and"
    ),
    Mutant("retries cost nothing", "retry", "        self.tokens -= 1.0", "        pass"),
    Mutant(
        "a retry comes before the backend wants it",
        "retry",
        "            wait += error.retry_after",
        "            pass",
    ),
    Mutant("refusals are sent again", "retry", "not isinstance(error, _PASSING) or ", ""),
    Mutant(
        "a retry comes after its deadline",
        "retry",
        "if request.deadline is not None and asyncio",
        "if False and asyncio",
    ),
    Mutant("calls have no deadline of the backend's", "deadline", "            alarm.ring()\n", "            pass\n"),
    Mutant(
        "calls have no deadline of their own",
        "deadline",
        "            timer = loop.call_at(request.deadline, alarm.ring)",
        "            pass",
    ),
    Mutant("what was late is sent", "deadline", "elif request.deadline <= loop.time():", "elif False:"),
    Mutant(
        "a cancelled caller is taken for a late one",
        "deadline",
        "if alarm.rang and task.uncancel() <= alarm.cancelling:",
        "if alarm.rang and task.uncancel() > -1:",
    ),
    Mutant(
        "a late call is taken for a cancelled one",
        "deadline",
        "if alarm.rang and task.uncancel() <= alarm.cancelling:",
        "if False:",
    ),
    Mutant(
        "a late write is taken for one that was not sent",
        "deadline",
        "if request.verb in READS or not request.operation_id:",
        "if True:",
    ),
    Mutant(
        "calls that have ended are timed",
        "deadline",
        "                self._running.pop(alarm, None)",
        "                pass",
    ),
    Mutant(
        "the timer does not come back",
        "deadline",
        "                self._timer = loop.call_at(alarm.until, self._sweep, context=Context())\n                return",
        "                return",
    ),
    Mutant(
        "who was answered as the bell rang is cancelled",
        "deadline",
        "        if alarm.rang:\n            alarm.answered()",
        "        pass",
    ),
    Mutant(
        "who failed as the bell rang is cancelled",
        "deadline",
        "            alarm.answered()\n            raise",
        "            raise",
    ),
    Mutant("a breaker never opens", "breaker", "                self._open(now)\n\n", "                pass\n\n"),
    Mutant(
        "all callers try a sick backend",
        "breaker",
        "if len(self._trials) + self._passed >= self._settings.permits:",
        "if False:",
    ),
    Mutant(
        "a trial that was given up is never over",
        "breaker",
        "            self._trials.pop(trial, None)\n            self._shared.end(trial)\n            raise",
        "            raise",
    ),
    Mutant("an open breaker stays open", "breaker", "            if now < self._until:", "            if True:"),
    Mutant(
        "a failed trial closes the breaker",
        "breaker",
        "        if failed:\n            self._open(now)\n            return\n",
        "",
    ),
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
