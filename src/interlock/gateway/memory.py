"""What the gateway remembers between calls: little, and not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar

import msgspec

from interlock.gateway.replies import Headers

__all__ = ["Bodies", "Body", "Memory"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LASTS: Final = 20.0
"""Seconds that a generation is young."""

MOST_BYTES: Final = 32 << 20
"""Of encoded answers."""

PATIENCE: Final = 200
"""Bodies that are kept in vain, one after the other, before no more are: a cache in another process gives other tuples at each hit."""

SAMPLE: Final = 1000
"""Of so many then, one is tried."""

_encode = msgspec.json.Encoder().encode


def _one(value: Any) -> int:
    return 1


class Memory(Generic[K, V]):
    """Values by key, together no heavier than `most`. What nobody asks for is gone after two generations, also where nobody asks for anything.

    What is asked for moves to the young generation. When that weighs half of `most`, or its time is over, it becomes the old one, and the old one goes.
    """

    def __init__(self, most: int, weigh: Callable[[V], int] = _one, lasts: float = LASTS) -> None:
        self._most = most // 2
        self._weigh = weigh
        self._lasts = lasts
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._weight = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        """The value, if it is still known."""
        found = self._young.get(key)
        if found is None and self._old:
            found = self._old.pop(key, None)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Remember the value; one that alone weighs more than half of everything is not."""
        weight = self._weigh(value)
        if weight > self._most:
            return
        self.drop(key)
        if self._weight + weight > self._most:
            self._turn()
        self._young[key] = value
        self._weight += weight
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._lasts, self._over)

    def drop(self, key: K) -> None:
        """Forget the value, if it is known."""
        self._old.pop(key, None)
        held = self._young.pop(key, None)
        if held is not None:
            self._weight -= self._weigh(held)

    def _turn(self) -> None:
        self._old, self._young, self._weight = self._young, {}, 0

    def _over(self) -> None:
        self._turn()
        again = asyncio.get_running_loop().call_later
        self._timer = again(self._lasts, self._over) if self._old else None


class Body:
    """The JSON of some rows, and the headers that went with it, of a page that began there and had this total and this next cursor."""

    __slots__ = ("cursor", "headers", "json", "rows", "start", "total")

    def __init__(
        self, rows: tuple[Any, ...], start: int, total: int | None, cursor: str | None, headers: Headers
    ) -> None:
        self.rows = rows
        self.start = start
        self.total = total
        self.cursor = cursor
        self.headers = headers
        self.json = _encode(rows)


class Bodies:
    """The JSON of the pages that a cache gives again and again.

    A body belongs to one tuple of rows: the very object, which the cache gives at each hit, and not its like. Rows never change, so whoever has been given that tuple by
    the services is given those bytes, and nobody else can be: this keeps no tenant, user or address apart, as it need not.
    """

    def __init__(self, most: int = MOST_BYTES, lasts: float = LASTS) -> None:
        self._held: Memory[int, Body] = Memory(most, _size, lasts)
        self._in_vain = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, rows: tuple[Any, ...], start: int, total: int | None, cursor: str | None) -> Body | None:
        """The body of these rows, if they were such a page before."""
        # While a body is held, so are its rows: nothing else has their address.
        found = self._held.get(id(rows))
        if found is None or found.total != total or found.start != start or found.cursor != cursor:
            return None
        self._in_vain = 0
        return found

    def put(self, body: Body) -> None:
        """Keep a body, where bodies have been of use lately."""
        self._in_vain += 1
        if self._in_vain > PATIENCE and self._in_vain % SAMPLE:
            return
        self._held.put(id(body.rows), body)


def _size(body: Body) -> int:
    return len(body.json) + 1024
