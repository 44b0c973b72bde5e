"""What the product brings itself: a SQLite database in the home folder, and demo data for it.

Part of the composition root: beside `app`, the only module that knows several backends.
"""

from __future__ import annotations

from interlock.backends.sql import SqlBackend, migrate
from interlock.entities import ENTITIES
from interlock.errors import Misconfigured
from interlock.seed import DEMO_PASSWORD, DEMO_USERS, seed_demo
from interlock.settings import Settings

__all__ = ["DEMO_PASSWORD", "DEMO_USERS", "migrate_database", "prepare_database", "seed_database"]


async def migrate_database(settings: Settings) -> None:
    """Bring the sql backend's database, embedded or not, to this version's tables."""
    if settings.database_url is None:
        settings.home.mkdir(parents=True, exist_ok=True)
    await migrate(settings.sql_url)


async def seed_database(settings: Settings) -> None:
    """Make the tables and the demo data in the embedded database.

    Raises `Misconfigured` for a database of one's own, and outside development and test: demo users, whose password everybody knows,
    belong nowhere else.
    """
    if settings.database_url is not None:
        raise Misconfigured(
            [
                "INTERLOCK_DATABASE_URL: is a database of your own, and demo users are made only in the embedded one; unset it"
            ]
        )
    if not settings.seed_demo:
        raise Misconfigured(
            [f"INTERLOCK_ENVIRONMENT: is {settings.environment}, and demo users are made in development and test only"]
        )
    await migrate_database(settings)
    backend = SqlBackend(settings.sql_url, ENTITIES)
    await backend.open()
    try:
        await seed_demo(backend, size=settings.seed_size, seed=settings.seed)
    finally:
        await backend.aclose()


async def prepare_database(settings: Settings) -> bool:
    """The embedded database at this version, seeded where it is new and demo data is wanted. Answers whether it is new."""
    new = not (settings.home / "interlock.db").exists()
    if new and settings.seed_demo:
        await seed_database(settings)
    else:
        await migrate_database(settings)
    return new
