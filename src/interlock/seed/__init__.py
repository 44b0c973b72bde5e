"""Demo data: seeded, believable, the same on every backend."""

from interlock.seed.demo import ACME, DEMO_PASSWORD, DEMO_USERS, GLOBEX, seed_demo
from interlock.seed.generator import Batch, generate

__all__ = ["ACME", "DEMO_PASSWORD", "DEMO_USERS", "GLOBEX", "Batch", "generate", "seed_demo"]
