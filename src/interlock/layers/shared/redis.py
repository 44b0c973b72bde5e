"""The store on a real server: Redis from 6.2 on, or Valkey."""

from __future__ import annotations

import hashlib
import os
import re
from types import MappingProxyType
from typing import Any, Final, cast

from interlock.layers.keys import Scope
from interlock.layers.shared.link import Address, Link, Refused
from interlock.layers.shared.membership import MembershipSettings
from interlock.layers.shared.scripts import SCRIPTS
from interlock.layers.shared.store import Found, Kept, OutOfReach, Phase, Renewal, Renewed, Verdict

__all__ = ["RedisStore"]

_DAY: Final = 86_400_000
_HEAD: Final = 50
"""Bytes of a kept value before the answer: its stamp and its two times, which the scripts read."""


class RedisStore:
    """A process's way to the server. Everything of ours stands under the run of the server, so that what an older run left, or a snapshot brought back, is never seen.

    `name` keeps applications apart that share a server. A step is given `patience` seconds, a connection `connect`.
    """

    def __init__(
        self,
        url: str,
        settings: MembershipSettings | None = None,
        *,
        name: str = "interlock",
        patience: float = 0.1,
        connect: float = 1.0,
    ) -> None:
        self._address = Address.parse(url)
        self._settings = settings or MembershipSettings()
        self._name = name
        self._patience = patience
        self._connect = connect
        self._link: Link | None = None
        self._run = ""
        self._prefix = b""
        self._scripts: MappingProxyType[str, bytes] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"RedisStore({self._address!r})"

    @property
    def connected(self) -> bool:
        """False once a step failed, until `connect`."""
        return self._link is not None and not self._link.broken

    async def connect(self) -> tuple[str, int]:
        """A new connection, its server's run and clock, and the scripts on it."""
        await self.aclose()
        link = await Link.open(self._address, self._connect, self._connect)
        try:
            about: bytes = await link.call("INFO", "server")
            found = re.search(rb"run_id:([0-9a-f]{40})", about)
            if found is None:
                raise OutOfReach("it does not say which run it is")
            names = list(SCRIPTS)
            loading = [link.call("SCRIPT", "LOAD", SCRIPTS[name]) for name in names]
            self._scripts = MappingProxyType({n: await loaded for n, loaded in zip(names, loading, strict=True)})
            seconds, micros = await link.call("TIME")
        except Refused as error:
            link.fail(error.reason)
            raise OutOfReach(error.reason) from None
        except BaseException:
            link.fail("given up")
            raise
        link.patience = self._patience
        self._link, self._run = link, found[1].decode()
        # One hash tag: a cluster keeps all of it on one node, where one script reaches it.
        self._prefix = f"{{{self._name}:{self._run}}}:".encode()
        return self._run, int(seconds) * 1000 + int(micros) // 1000

    async def renew(self, renewal: Renewal) -> Renewed:
        """Renew a lease."""
        settings = self._settings
        said = await self._step(
            "renew",
            (b"members", b"epoch"),
            renewal.member,
            str(renewal.expires),
            str(int(settings.lease * 1000)),
            "1" if renewal.first else "0",
            "1" if renewal.behind else "0",
            str(int(settings.quarantine * 1000)),
            *renewal.remembered,
        )
        members = {said[n].decode(): int(said[n + 1]) for n in range(3, len(said), 2)}
        return Renewed(bool(said[0]), said[1], members, said[2])

    async def remove(self, lapsed: dict[str, int]) -> None:
        """Remove the dead."""
        pairs = (part for one, expires in lapsed.items() for part in (one, str(expires)))
        await self._step("remove", (b"members", b"epoch"), "", *pairs)

    async def leave(self, member: str) -> None:
        """Deregister."""
        await self._step("leave", (b"members",), member)

    async def read(self, member: str, service: str, scope: Scope, key: bytes) -> Found:
        """The verdict, the stamp and the kept answer."""
        said = await self._step("read", self._keys(service, scope, key), member)
        verdict = cast(Verdict, said[0].decode())
        match said:
            case [_]:
                return Found(verdict)
            case [_, stamp]:
                return Found(verdict, stamp)
        return Found(verdict, said[1], said[2][_HEAD:], cast(Phase, said[3].decode()))

    async def keep(self, member: str, service: str, scope: Scope, key: bytes, stamp: bytes, kept: Kept) -> None:
        """Keep an answer, if it may be."""
        times = (str(kept.refresh), str(kept.ends), str(kept.drop))
        await self._step("keep", self._keys(service, scope, key), member, stamp, *times, kept.value)

    async def begin(self, scopes: tuple[Scope, ...], operation: str) -> None:
        """Mark the scopes."""
        await self._step("begin", (b"members", *map(_scope, scopes)), "", operation)

    async def end(self, scopes: tuple[Scope, ...], operation: str) -> None:
        """Take the mark away."""
        await self._step("end", (b"members", *map(_scope, scopes)), "", operation)

    async def retire(self, service: str) -> None:
        """Forget a service."""
        await self._step("retire", (b"service:" + service.encode(),), "")

    async def aclose(self) -> None:
        """Let the connection go."""
        link, self._link = self._link, None
        if link is not None:
            link.fail("closed")

    @staticmethod
    def _keys(service: str, scope: Scope, key: bytes) -> tuple[bytes, ...]:
        return (b"members", b"epoch", b"service:" + service.encode(), _scope(scope), b"answer:" + key.hex().encode())

    async def _step(self, script: str, keys: tuple[bytes, ...], member: str, *arguments: str | bytes) -> Any:
        link = self._link
        if link is None or link.broken:
            raise OutOfReach("not connected" if link is None else link.broken)
        settle = str(int(self._settings.settle * 1000))
        try:
            return await link.call(
                "EVALSHA",
                self._scripts[script],
                str(len(keys)),
                *(self._prefix + key for key in keys),
                self._run,
                member,
                os.urandom(8),
                settle,
                str(_DAY),
                *arguments,
            )
        except Refused as error:
            # A full memory keeps nothing new; what is there is still true, and so is what a write says of it.
            if error.code != "OOM" or script not in ("read", "keep"):
                link.fail(error.reason)
            raise OutOfReach(error.reason) from None


def _scope(scope: Scope) -> bytes:
    """A scope's key, in which no tenant can be read."""
    return b"scope:" + hashlib.blake2b("\0".join(scope).encode(), digest_size=16).hexdigest().encode()
