"""Group commit: what many callers ask of the store at one moment is one transaction, and one flush to the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["GroupCommit"]

A = TypeVar("A")
R = TypeVar("R")


class GroupCommit(Generic[A, R]):
    """Gathers what is asked while the transaction before is under way, and hands it to `commit` as one batch, in the order asked.

    `commit` answers one result for each, after they are durable. Where it fails, every caller of the batch has the error. A caller that leaves takes nothing
    back: what was asked is carried out.
    """

    def __init__(self, commit: Callable[[Sequence[A]], Awaitable[Sequence[R]]], *, most: int = 1000) -> None:
        self._commit = commit
        self._most = most
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._running: asyncio.Task[None] | None = None

    async def ask(self, asked: A) -> R:
        """The result, once it is durable."""
        place: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, place))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await place

    async def aclose(self) -> None:
        """Returns when nothing is under way."""
        while self._running is not None:
            await asyncio.wait((self._running,))

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                try:
                    results = await self._commit([asked for asked, _ in batch])
                except BaseException as error:
                    for _, place in batch:
                        if not place.done():
                            place.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
                    if not isinstance(error, Exception):
                        raise
                    continue
                for (_, place), result in zip(batch, results, strict=True):
                    if not place.done():
                        place.set_result(result)
        finally:
            self._running = None
