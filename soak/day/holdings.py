"""What the layers of a world's processes hold, counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

__all__ = ["BOUNDS", "holdings"]

BOUNDS = {
    "tasks": 1000,
    "timers": 1000,
    "kept": 3 * 30,
    "scopes": 3 * 30,
    "of a record": 3 * 2 * 30,
    "followed": 3 * 64,
    "own writes": 3 * 10_000,
    "hedge's kinds": 3 * 3 * 2,
    "hedge's times": 3 * 3 * 2 * 300,
    "breaker's slices": 9 * 12,
    "members": 3 * 3,
    "stamps": 3 * 1000,
    "waiting for the bell": 3,
    "unsettled": 3 * 100,
    "layers told": 3 * 10,
}
"""The most that may be held when all is quiet; of anything else, nothing."""


def holdings(world: Any) -> Counter[str]:
    """Of each kind, how many are held by the processes that live."""
    held: Counter[str] = Counter()
    loop: Any = asyncio.get_running_loop()
    held["tasks"] = sum(not task.done() for task in asyncio.all_tasks())
    held["timers"] = sum(not timer._cancelled for timer in loop._scheduled)
    for process in world.processes:
        held["unsettled"] += len(process.told._unsettled)
        held["layers told"] += len(process.told._layers)
        held["shared trials"] += len(process.guard.trials._out)
        held["steps"] += len(process.store._sent)
        if process.membership is not None:
            _membership(held, process.membership)
        for pipeline in process.pipelines.values():
            _pipeline(held, pipeline.layers)
    return held


def _membership(held: Counter[str], member: Any) -> None:
    held["writes"] += len(member._open) + len(member._writing) + len(member._changing)
    held["unsettled"] += len(member._unsettled)
    held["stamps"] += len(member._seen)
    held["members"] += len(member._others)
    held["remembered"] += len(member._remembered)
    held["membership's tasks"] += len(member._tasks)
    held["waiting for the bell"] += len(member._met._waiting) + len(member._woken._waiting)


def _pipeline(held: Counter[str], layers: Any) -> None:
    flight, batch, places, hedge = (layers[one] for one in ("single_flight", "batch", "bulkhead", "hedge"))
    held["flights"] += len(flight._flights) + len(flight._flying)
    held["batches"] += len(batch._open) + len(batch._sending)
    held["places"] += places.in_use
    held["queue"] += len(places._queue)
    held["timed calls"] += len(layers["deadline"]._running)
    held["trials"] += len(layers["breaker"]._trials)
    held["breaker's slices"] += len(layers["breaker"]._window._slices)
    held["second calls"] += len(hedge._seconds)
    held["hedge's kinds"] += len(hedge._kinds)
    for kind in hedge._kinds.values():
        held["races"] += len(kind.races) + len(kind.waiting)
        held["hedge's times"] += len(kind.recent) + len(kind.fresh)
    cache, watcher = layers["cache"], layers.get("watcher")
    held["refreshes"] += len(cache._refreshes)
    held["kept"] += getattr(cache, "kept", 0)
    scopes = getattr(cache, "_scopes", {})
    held["scopes"] += len(scopes)
    held["of a record"] += sum(len(one.of_record) for one in scopes.values())
    if watcher is not None:
        held["followed"] += len(watcher._followed)
        held["own writes"] += len(watcher._own)
        held["ending"] += len(watcher._ending)
