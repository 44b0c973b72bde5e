"""A process of the shared cache, as a program: reads and writes a few records as fast as it may, and prints what it saw.

Each line is `kind begin end record version cached`, with the machine's monotonic clock, which all processes read alike. Ends at the end of its input.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from types import MappingProxyType
from typing import Any

import msgspec

from interlock.backends.sql import SqlBackend
from interlock.contract import Backend, Identity, Query, Request
from interlock.entities import ENTITIES
from interlock.errors import InterlockError
from interlock.identifiers import new_id
from interlock.layers import CacheSettings, SingleFlight
from interlock.layers.invalidation import Invalidation
from interlock.layers.shared import Membership, MembershipSettings, SharedCache
from interlock.layers.shared.redis import RedisStore


class Orders(msgspec.Struct):
    """What the process is to do. `pause` is the seconds between two calls of one of its `actors`; `writes` the share of writes."""

    redis: str
    sql: str
    records: list[str]
    tenant: str
    settings: MembershipSettings
    actors: int = 3
    pause: float = 0.005
    writes: float = 0.05
    seed: int = 0


def say(*parts: object) -> None:
    """A line, at once."""
    sys.stdout.write(" ".join(map(str, parts)) + "\n")
    sys.stdout.flush()


async def act(orders: Orders, cache: Backend, me: Identity, draw: random.Random) -> None:
    """One who reads and writes."""
    while True:
        record, begin = draw.choice(orders.records), time.monotonic()
        try:
            if draw.random() < orders.writes:
                patch = MappingProxyType({"color": f"#{draw.randrange(16**6):06x}"})
                request = Request("update", "tags", me, ids=(record,), patch=patch, operation_id=new_id())
                outcome: Any = (await cache.handle(request)).outcomes[0]
                if outcome.row is not None:
                    say("wrote", begin, time.monotonic(), record, outcome.row.version, 0)
            elif draw.random() < 0.5:
                answer = await cache.handle(Request("get", "tags", me, ids=(record,)))
                say("read", begin, time.monotonic(), record, answer.rows[0].version, int(answer.cached))
            else:
                answer = await cache.handle(Request("find", "tags", me, query=Query()))
                end = time.monotonic()
                for row in answer.rows:
                    say("read", begin, end, row.id, row.version, int(answer.cached))
        except InterlockError as error:
            say("error", begin, time.monotonic(), record, error.code, 0)
        await asyncio.sleep(orders.pause * draw.uniform(0.5, 1.5))


async def main(orders: Orders) -> None:
    """Until somebody closes the input."""
    backend = SqlBackend(orders.sql, ENTITIES)
    await backend.open()
    told = Invalidation()
    membership = Membership(RedisStore(orders.redis, orders.settings, patience=0.25), orders.settings, told=told)
    cache = SharedCache(
        SingleFlight(backend, told=told),
        CacheSettings(ttl=20),
        membership,
        service="customers",
        where="sql",
        entities={entity.resource: entity for entity in ENTITIES},
    )
    await membership.start()
    me = Identity(new_id(), orders.tenant, "admin")
    draw = random.Random(orders.seed)
    actors = [asyncio.ensure_future(act(orders, cache, me, draw)) for _ in range(orders.actors)]
    say("ready", 0, 0, membership.member.partition(" ")[0], 0, 0)
    await asyncio.to_thread(sys.stdin.read)
    for actor in actors:
        actor.cancel()
    await asyncio.gather(*actors, return_exceptions=True)
    await cache.aclose()
    await membership.aclose()
    await backend.aclose()


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.argv[1], type=Orders)))
