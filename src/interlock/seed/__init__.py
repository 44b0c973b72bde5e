"""Demo data: the same believable records, with the same ids, on every backend."""

from __future__ import annotations

from interlock.seed.demo import DEMO_PASSWORD, DEMO_TENANTS, DEMO_USERS, seed_demo
from interlock.seed.generate import Generator

__all__ = ["DEMO_PASSWORD", "DEMO_TENANTS", "DEMO_USERS", "Generator", "seed_demo"]
