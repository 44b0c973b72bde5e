"""What the product brings itself: a SQLite database in the home folder, a local Supabase, and demo data for both.

Part of the composition root: beside `app`, the only module that knows several backends.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from interlock.abilities import Authenticates, StoresFiles
from interlock.app import App
from interlock.backends.sql import SqlBackend, migrate
from interlock.contract import Backend, Query, Request
from interlock.entities import ENTITIES
from interlock.errors import Misconfigured
from interlock.seed import DEMO_PASSWORD, DEMO_USERS, seed_demo
from interlock.settings import LocalSupabase, Settings

__all__ = [
    "DEMO_PASSWORD",
    "DEMO_USERS",
    "local_supabase",
    "migrate_database",
    "prepare_database",
    "seed_database",
    "seed_supabase",
]


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


@asynccontextmanager
async def local_supabase(settings: Settings, say: Callable[[str], None]) -> AsyncIterator[LocalSupabase]:
    """A local Supabase out of the home folder, seeded where demo data is wanted, for as long as the block lasts.

    `say` gets its progress, a line at a time. Raises `Misconfigured` where its programs are missing or its port is taken.
    """
    from interlock.devstack import install, running

    await install(say)
    async with running(settings.home / "supabase", port=settings.supabase_port, say=say) as stack:
        local = LocalSupabase(os.getpid(), stack.url, stack.anon_key, stack.service_key, stack.jwt_secret)
        if settings.seed_demo:
            say("making the demo data")
            await seed_supabase(settings.at_local_supabase(local))
        local.remember(settings.home)
        try:
            yield local
        finally:
            local.forget(settings.home)


async def seed_supabase(settings: Settings) -> None:
    """Make the demo users, who can log in, and their data in a local Supabase. What is there already stays.

    Raises `Misconfigured` outside development and test.
    """
    if not settings.seed_demo:
        raise Misconfigured(
            [f"INTERLOCK_ENVIRONMENT: is {settings.environment}, and demo users are made in development and test only"]
        )
    app = await App.open(settings.model_copy(update={"api_mode": "supabase", "backends": {}}))
    try:
        backend = app.router.route("customers").backend
        if not await _seeded(backend, settings.seed_size):
            files = app.router.route("files").ability(StoresFiles)
            await seed_demo(backend, size=settings.seed_size, seed=settings.seed, files=files)
        accounts: Any = app.router.route("auth").ability(Authenticates)
        for user in DEMO_USERS:
            await accounts.add_account(user, DEMO_PASSWORD)
    finally:
        await app.aclose()


async def _seeded(backend: Backend, size: int) -> bool:
    """Whether the tenant that is seeded last has its customers."""
    query = Query(limit=1, count="exact", deleted="with")
    answer = await backend.handle(Request("find", "customers", DEMO_USERS[-1], query=query))
    return 0 < size <= (answer.total or 0)
