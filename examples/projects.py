"""An entity and a service of one's own, in one file: every backend, the gateway and the audit trail come with it.

Run it: `python examples/projects.py`. It works on whatever `INTERLOCK_PROJECTS_BACKEND` and the other settings say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal

from msgspec import Meta

import interlock
from interlock.contract import Page, Record
from interlock.entity import Entity, Money, Reference, Unique
from interlock.errors import Invalid
from interlock.services import EntityService
from interlock.settings import SERVICES, Settings


class Project(Record, frozen=True, kw_only=True, rename="camel"):
    """Work for a customer. A finished project stays as it is."""

    name: Annotated[str, Meta(min_length=1, max_length=120)]
    customer_id: str
    state: Literal["planned", "running", "finished"] = "planned"
    budget: Decimal | None = None
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "EUR"
    due: date | None = None


PROJECTS = Entity(
    Project,
    resource="projects",
    searchable=("name",),
    unique=(Unique("name", folded=True),),
    references=(Reference("customer_id", "customers"),),
    money=(Money("budget", "currency"),),
)


class Projects(EntityService[Project]):
    """Projects and their one rule."""

    async def _check_update(self, ids: tuple[str, ...], patch: Mapping[str, Any]) -> Mapping[str, Any]:
        for project in await self.get_many(ids):
            if project.state == "finished":
                raise Invalid({"state": f"{project.name} is finished and stays as it is; make a new project"})
        return patch

    async def finish(self, id: str) -> Project:
        """Nothing is left to do."""
        return await self.update(id, state="finished")

    async def late(self, today: date) -> Page[Project]:
        """Projects that should be finished and are not."""
        return await self.list(due__lt=today, state__ne="finished", sort="due")


OWN: Mapping[Entity[Any], type[EntityService[Any]]] = MappingProxyType({PROJECTS: Projects})


async def main() -> None:
    """Make a customer and a project, finish it, and see the rule hold."""
    settings = Settings.load(services=(*SERVICES, "projects"))
    async with interlock.connect(settings, own=OWN) as crm:
        await crm.auth.login("admin@acme.test", "interlock-demo")
        customer = await crm.customers.create(company_name="Brücke & Söhne")
        projects: Projects = crm.of("projects")  # type: ignore[assignment]  # OWN says which class it is
        bridge = await projects.create(
            name="Bridge", customer_id=customer.id, budget=Decimal("125000.50"), due=date(2026, 1, 31)
        )
        late = await projects.late(date(2026, 2, 1))
        await projects.finish(bridge.id)
        try:
            await projects.update(bridge.id, name="Tunnel")
        except Invalid as error:
            print(f"late: {late.items[0].name}; then: {error}")


if __name__ == "__main__":
    asyncio.run(main())
