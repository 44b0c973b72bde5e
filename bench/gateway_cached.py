"""The gateway with its cache on, beside an ASGI application that answers constant bytes on the same server."""

from __future__ import annotations

import os
import statistics
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench.gateway_list import SECONDS, load
from bench.measure import Result, emit, interleaved, paired, rounded
from bench.serving import Answer, Running, running

RUNS = 7
_THE_SERVERS_OWN = ("date", "server", "connection")
"""Headers that the HTTP server itself adds to every answer."""


def answer_of(server: Running, url: str) -> Answer:
    """What the server says there: the second time, when it is cached."""
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {server.token}"})  # noqa: S310 - loopback
    for _ in range(2):
        with urllib.request.urlopen(asked) as answer:  # noqa: S310 - loopback
            body = answer.read()
            told = [(name.lower(), value) for name, value in answer.headers.items()]
    return Answer(tuple((name, value) for name, value in told if name not in _THE_SERVERS_OWN), body)


def cpu_seconds(pid: int) -> float:
    """What a process has spent of its core so far, in user mode and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def run() -> Mapping[str, Result]:
    spent: dict[str, list[float]] = {}
    with ExitStack() as stack:
        cached = stack.enter_context(running("cached"))
        plain = stack.enter_context(running("gateway"))
        listed = answer_of(cached, cached.url)
        one = f"{cached.url}/{msgspec.json.decode(listed.body)[0]['id']}"
        constant_list = stack.enter_context(running("replay", listed))
        constant_one = stack.enter_context(running("replay", answer_of(cached, one)))

        def loaded(name: str, server: Running, url: str = "") -> tuple[str, Callable[[], Awaitable[float]]]:
            async def measured() -> float:
                before = cpu_seconds(server.pid)
                rate = await load(server, url)
                spent.setdefault(name, []).append((cpu_seconds(server.pid) - before) / (rate * SECONDS))
                return rate

            return name, measured

        subjects = (
            loaded("list, cached", cached),
            loaded("list, constant bytes", constant_list),
            loaded("one, cached", cached, one),
            loaded("one, constant bytes", constant_one),
            loaded("list, no cache", plain),
        )
        taken = await interleaved(RUNS, dict(subjects))
    parts = {f"{name}, requests/s": rounded(statistics.median(rates)) for name, rates in taken.items()}
    parts |= {f"{name}, µs of CPU a call": rounded(statistics.median(each) * 1e6) for name, each in spent.items()}
    peer = "an ASGI application that checks nothing and answers the same headers and bytes, on the gateway's own granian and uvloop"
    return {
        f"gateway_cached_{what}": paired(
            taken[f"{what}, cached"], taken[f"{what}, constant bytes"], bar=">=0.7", peer=peer, parts=parts
        )
        for what in ("list", "one")
    }


if __name__ == "__main__":
    emit(run)
