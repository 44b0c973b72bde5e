"""Gives commands the ten services: those of the running product where one runs, else the library's own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from rich.prompt import Prompt

from interlock.app import App
from interlock.cli.output import Output
from interlock.cli.running import running
from interlock.errors import Invalid, Unauthenticated
from interlock.services import Services
from interlock.settings import Settings

__all__ = ["DEFAULT_USER", "services"]

DEFAULT_USER: Final = "admin@acme.test"
"""Who commands act as on demo data, where nobody is named."""


@asynccontextmanager
async def services(settings: Settings, output: Output, user: str | None) -> AsyncIterator[Services]:
    """The services, logged in. Over the running product they are the same services with every backend being that product."""
    found = running(settings.home)
    if found is not None:
        settings = settings.model_copy(
            update={
                "api_mode": "real",
                "backends": {},
                "api_base_url": f"{found.gateway}/api/v1",
                "api_dialect": "interlock",
            }
        )
    else:
        settings.check()
        if "mock" in {settings.backend_of(service) for service in ("auth", "customers")}:
            output.note("nothing runs here: the mock lives for this command only")
    app = await App.open(settings)
    try:
        crm = app.services()
        await _login(crm, settings, user)
        yield crm
    finally:
        await app.aclose()


async def _login(crm: Services, settings: Settings, user: str | None) -> None:
    from interlock.embedded import DEMO_PASSWORD, DEMO_USERS

    if user is None and not settings.seed_demo:
        raise Invalid({"as": "is needed: say who calls, such as --as me@example.com"})
    email = user or DEFAULT_USER
    if settings.seed_demo and email in {each.email for each in DEMO_USERS}:
        password = DEMO_PASSWORD
    elif os.isatty(0):
        password = Prompt.ask(f"password of {email}", password=True)
    else:
        raise Unauthenticated(f"{email} has a password, and there is no terminal to ask for it; run this in one")
    await crm.auth.login(email, password)
