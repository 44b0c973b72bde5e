"""Telling: the layer of a service of which nothing is kept, whose writes end what is kept of others all the same."""

from __future__ import annotations

from interlock.contract import Backend, Request, Response
from interlock.errors import InterlockError
from interlock.layers.deadline import READS
from interlock.layers.invalidation import Invalidation

__all__ = ["Telling"]


class Telling:
    """Tells of each write, before its caller has the answer: the trail of its tenant has grown by it."""

    def __init__(self, inner: Backend, told: Invalidation) -> None:
        self._inner = inner.handle
        self._told = told

    async def handle(self, request: Request) -> Response:
        """The inner answer."""
        if request.verb in READS:
            return await self._inner(request)
        known = False
        try:
            answer = await self._inner(request)
            known = True
        except InterlockError as error:
            known = error.status < 500
            raise
        finally:
            self._told.written(request, known=known)
        return answer
