"""What the shared cache asks of a store: a few steps, each of them one atomic step of the server.

Times are in whole milliseconds of the server's own clock, which the server reads inside each step. A step that did not get its answer in time raises `OutOfReach`;
it may be carried out all the same, at any later time, and every step is made so that this does no harm.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from interlock.layers.keys import Scope

__all__ = ["Found", "Kept", "OutOfReach", "Phase", "Renewal", "Renewed", "Store", "Verdict"]

Verdict = Literal["serve", "pending", "waiting", "quarantine", "lapsed"]
"""Whether kept answers may be given now: yes; not in this scope, which is being written; not while a process is cut off; not so soon after the
server began; not to this process, which must renew its lease first."""

Phase = Literal["fresh", "refresh", "ended"]
"""Of a kept answer: good; good, and this caller is to load it again; past its end, and only good to stand in for a backend that is away."""


class OutOfReach(Exception):
    """The server cannot be reached, does not answer in time or cannot do what it is asked. The message is for people and holds no secret."""


class Found(NamedTuple):
    """What a read found. An answer loaded after it may be kept under its `stamp`, where the verdict is `serve`."""

    verdict: Verdict
    stamp: bytes = b""
    value: bytes | None = None
    phase: Phase = "fresh"


class Kept(NamedTuple):
    """An answer to keep: when to load it anew, when it ends, and when it is dropped, all in milliseconds from now."""

    value: bytes
    refresh: int
    ends: int
    drop: int


class Renewal(NamedTuple):
    """A process renews its lease until `expires`.

    `first`: it has never held one of this server. `behind`: it has acknowledged writes that the server was not told of. `remembered`: the others that it knew
    on another server, of which this one has to hear before it serves anything.
    """

    member: str
    expires: int
    first: bool
    behind: bool
    remembered: tuple[str, ...] = ()


class Renewed(NamedTuple):
    """The server's clock, every registered process with the end of its lease, and when the quarantine ends. `accepted` is False where `expires` did not fit the clock."""

    accepted: bool
    now: int
    members: dict[str, int]
    quarantine: int = 0


class Store(Protocol):
    """One process's way to the server. Every step but `connect` needs a connection and raises `OutOfReach` without one."""

    @property
    def connected(self) -> bool:
        """False once a step failed, until `connect`."""
        ...

    async def connect(self) -> tuple[str, int]:
        """Reach the server: which run of which server it is (another after each start and each fail-over), and its clock."""
        ...

    async def renew(self, renewal: Renewal) -> Renewed:
        """Renew a lease. Everything kept becomes invalid where the lease had lapsed, or the process is `behind`, or is unknown and not `first`."""
        ...

    async def remove(self, lapsed: dict[str, int]) -> None:
        """Remove processes whose lease still ends when it did. Everything kept becomes invalid, and a quarantine begins."""
        ...

    async def leave(self, member: str) -> None:
        """Deregister: this process will write no more."""
        ...

    async def read(self, member: str, service: str, scope: Scope, key: bytes) -> Found:
        """The verdict, the stamp and the kept answer of a key."""
        ...

    async def keep(self, member: str, service: str, scope: Scope, key: bytes, stamp: bytes, kept: Kept) -> None:
        """Keep an answer if the verdict is still `serve` and the stamp is still the same."""
        ...

    async def begin(self, scopes: tuple[Scope, ...], operation: str) -> None:
        """An operation is about to write, or may still land: until it ends or settles, nothing of the scopes is served or kept; what is kept is invalid."""
        ...

    async def end(self, scopes: tuple[Scope, ...], operation: str) -> None:
        """An operation has ended. What is kept of the scopes is invalid."""
        ...

    async def retire(self, service: str) -> None:
        """What is kept of a service is invalid."""
        ...

    async def aclose(self) -> None:
        """Let the connection go."""
        ...
