"""Interlock: ten business services whose backends are chosen per service and switched while running.

::

    async with interlock.connect() as crm:
        await crm.auth.login("agent@acme.test", "interlock-demo")
        page = await crm.customers.list(status="active", sort="company_name")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.app import App, connect
from interlock.contract import Backend, Change, Condition, Group, Identity, Outcome, Page, Point, Query, Record, Sort
from interlock.entity import Entity, Money, Reference, Unique
from interlock.errors import InterlockError
from interlock.portal import blocking
from interlock.services import EntityService, Services
from interlock.settings import Settings

__version__: str

if not TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        if name == "__version__":  # reading the package's metadata takes longer than most imports
            from importlib.metadata import version

            return version("interlock")
        raise AttributeError(f"module 'interlock' has no attribute {name!r}")


__all__ = [
    "App",
    "Backend",
    "Change",
    "Condition",
    "Entity",
    "EntityService",
    "Group",
    "Identity",
    "InterlockError",
    "Money",
    "Outcome",
    "Page",
    "Point",
    "Query",
    "Record",
    "Reference",
    "Services",
    "Settings",
    "Sort",
    "Unique",
    "blocking",
    "connect",
]
