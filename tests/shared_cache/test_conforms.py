"""The shared cache of two processes over one backend and one server, called in turn, is a backend."""

from __future__ import annotations

import itertools

import pytest
from tests.shared_cache.conftest import EVERY, Join, over

from interlock.backends.memory import MemoryBackend
from interlock.contract import Backend, Request, Response
from interlock.identifiers import new_id
from interlock.testing.conformance import BackendConformance, Subject
from interlock.testing.servers import RedisServer


class InTurn:
    """Each call goes to the next of several backends."""

    def __init__(self, *backends: Backend) -> None:
        self._next = itertools.cycle(backends)

    async def handle(self, request: Request) -> Response:
        return await next(self._next).handle(request)


class TestTwoProcesses(BackendConformance):
    @pytest.fixture
    async def subject(self, shared_server: RedisServer, join: Join, memory: MemoryBackend) -> Subject:
        name = new_id()
        caches = [over(memory, await join(shared_server.url, name=name)) for _ in range(2)]
        return Subject(InTurn(*caches))

    @pytest.fixture
    async def another(self, shared_server: RedisServer, join: Join, memory: MemoryBackend) -> Subject:

        name, other = new_id(), MemoryBackend(EVERY)
        return Subject(InTurn(*[over(other, await join(shared_server.url, name=name)) for _ in range(2)]))
