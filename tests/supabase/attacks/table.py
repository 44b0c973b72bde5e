"""The table of attacks: each has a name, a strike, and a control that shows the same thing to work for who may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.supabase.attacks.world import World

Strike = Callable[[World], None]


@dataclass(frozen=True)
class Attack:
    """One attack. `strike` must fail where it succeeds; `control` may change tenant A, `strike` must not."""

    name: str
    strike: Strike
    control: Strike | None = None

    def run(self, world: World) -> None:
        """Strike, look whether A is as it was, then show that who may, can."""
        if not world.settled:
            world.settle()
        self.strike(world)
        assert world.state() == world.settled, f"{self.name}: something of tenant A changed"
        if self.control is not None:
            self.control(world)
            world.settle()


class Table(dict[str, Attack]):
    """Attacks by name."""

    def __call__(self, name: str, *, control: Strike | None = None) -> Callable[[Strike], Strike]:
        """Enter a strike under a name that no other has."""

        def enter(strike: Strike) -> Strike:
            assert name not in self, name
            self[name] = Attack(name, strike, control)
            return strike

        return enter
