"""Every attack of the table, each a test of its own: what succeeds is a bug."""

from __future__ import annotations

import pytest
from tests.supabase.attacks.accounts import ACCOUNTS
from tests.supabase.attacks.functions import FUNCTIONS
from tests.supabase.attacks.reads import READS
from tests.supabase.attacks.sockets import SOCKETS
from tests.supabase.attacks.storage import STORAGE
from tests.supabase.attacks.table import Attack
from tests.supabase.attacks.tokens import TOKENS
from tests.supabase.attacks.world import World
from tests.supabase.attacks.writes import WRITES

ATTACKS: dict[str, Attack] = {**READS, **WRITES, **FUNCTIONS, **TOKENS, **ACCOUNTS, **STORAGE, **SOCKETS}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str, world: World) -> None:
    ATTACKS[name].run(world)


def test_there_are_enough() -> None:
    assert len(ATTACKS) >= 60
