"""The simulated server is held to the real one: the same steps at the same times have the same outcomes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from interlock.layers.shared import MembershipSettings
from interlock.layers.shared import redis as on_redis
from interlock.layers.shared.scripts import SCRIPTS
from interlock.layers.shared.store import Found, Kept, Renewal
from interlock.testing.servers import RedisServer
from interlock.testing.simulated_store import SimulatedServer

pytestmark = pytest.mark.anyio

SETTINGS = MembershipSettings(lease=3, settle=5, quarantine=4)
MEMBERS = ("a", "b", "c")
SCOPES = (("t", "tags"), ("t", "audit"), ("u", "tags"))
STEPS = 150


class Server(SimulatedServer):
    """Its clock is set by hand."""

    time = 1_000_000

    def now(self) -> int:
        return self.time


def clocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts read the clock from a key."""
    real = b"local time = redis.call('TIME')"
    ours = b"local time = {redis.call('GET', 'clock') / 1000, (redis.call('GET', 'clock') % 1000) * 1000}"
    assert all(real in script for script in SCRIPTS.values())
    ours = ours.replace(b"redis.call('GET', 'clock') / 1000", b"math.floor(redis.call('GET', 'clock') / 1000)")
    monkeypatch.setattr(on_redis, "SCRIPTS", {name: script.replace(real, ours) for name, script in SCRIPTS.items()})


class Pair:
    """One of each, and which stamp of the one is which of the other."""

    def __init__(self, draw: random.Random, store: on_redis.RedisStore, server: RedisServer) -> None:
        self.draw = draw
        self.store = store
        self.server = server
        self.simulated = Server(draw, SETTINGS)
        self.stamps: dict[bytes, bytes] = {}
        self.taken: list[tuple[str, Any, bytes, bytes]] = []
        self.verdicts: set[str] = set()

    def same(self, real: Found, ours: Found) -> None:
        assert (real.verdict, real.value, real.phase) == (ours.verdict, ours.value, ours.phase)
        assert self.stamps.setdefault(ours.stamp, real.stamp) == real.stamp
        self.verdicts.add(real.verdict if real.value is None else real.phase)

    async def step(self) -> None:
        draw, ours, real = self.draw, self.simulated, self.store
        ours.time += draw.choice((0, 0, 1, 50, 300, 900, 2500, -5, -2000 if draw.random() < 0.05 else 7))
        self.server.command("SET", "clock", str(ours.time))
        member, scope = draw.choice(MEMBERS), draw.choice(SCOPES)
        key, operation = f"{scope} {draw.randrange(2)}".encode(), str(draw.randrange(3))
        match draw.choices(
            ("renew", "read", "keep", "begin", "end", "retire", "remove", "leave"), (8, 14, 8, 2, 3, 0.3, 0.5, 0.3)
        )[0]:
            case "renew":
                for each in MEMBERS if draw.random() < 0.7 else (member,):
                    expires = ours.time + draw.choice((3000, 3000, 3000, 2000, 0, 4000))
                    renewal = Renewal(
                        each, expires, draw.random() < 0.5, draw.random() < 0.1, ("x",) if draw.random() < 0.05 else ()
                    )
                    assert await real.renew(renewal) == ours.renew(renewal)
            case "read":
                found = await real.read(member, "s", scope, key), ours.read(member, "s", scope, key)
                self.same(*found)
                if found[0].stamp:
                    self.taken.append((member, scope, found[0].stamp, found[1].stamp))
            case "keep" if self.taken:
                member, scope, theirs, mine = draw.choice(self.taken[-6:])
                key = f"{scope} {draw.randrange(2)}".encode()
                ends = draw.choice((400, 60_000))
                kept = Kept(b"%d" % draw.randrange(1000), ends, ends, 10_000_000)
                await real.keep(member, "s", scope, key, theirs, kept)
                ours.keep(member, "s", scope, key, mine, kept)
            case "begin":
                await real.begin((scope, SCOPES[1]), operation)
                ours.begin((scope, SCOPES[1]), operation)
            case "end":
                await real.end((scope,), operation)
                ours.end((scope,), operation)
            case "retire":
                await real.retire("s")
                ours.retire("s")
            case "remove":
                lapsed = {one: expires for one, expires in (ours.members or {}).items() if draw.random() < 0.7}
                await real.remove(lapsed)
                ours.remove(lapsed)
            case "leave":
                await real.leave(member)
                ours.leave(member)


async def test_the_same_steps_have_the_same_outcomes(
    shared_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocked(monkeypatch)
    seen: set[str] = set()
    for seed in range(40):
        store = on_redis.RedisStore(shared_server.url, SETTINGS, name=f"steps-{seed}", patience=5)
        await store.connect()
        pair = Pair(random.Random(seed), store, shared_server)
        for number in range(STEPS):
            try:
                await pair.step()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, step {number}: {error}") from error
        seen |= pair.verdicts
        await store.aclose()
    assert seen == {"serve", "pending", "waiting", "quarantine", "lapsed", "fresh", "ended"}
