"""One application without settings: a router over one backend (or two), a clock that tests move, callers of every role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any, cast

from interlock.abilities import Authenticates, RecoversAccounts
from interlock.contract import Backend, Identity, Request, Role
from interlock.entities import ENTITIES
from interlock.entities.user import User, UserRole
from interlock.identifiers import new_id
from interlock.router import Route, Router
from interlock.services import Services
from interlock.services.facade import Wiring

ALL = (
    "auth",
    "customers",
    "sales",
    "tickets",
    "contracts",
    "users",
    "dashboard",
    "notifications",
    "files",
    "audit",
)


@dataclass
class Clock:
    """Stands still at the moment it was made, until a test moves it."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    @property
    def today(self) -> date:
        return self.now.date()

    def advance(self, **parts: float) -> None:
        self.now += timedelta(**parts)


@dataclass
class World:
    """`world.agent` is the services as an agent has them, and so on; `world.identities` who they are.

    `tenants` are the ids of tenants whose names are not their ids.
    """

    backend: Any
    clock: Clock
    router: Router = field(default_factory=Router)
    identities: dict[str, Identity] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    tenants: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.serve(self.backend, "test", *ALL)
        self.wiring = Wiring(
            self.router,
            MappingProxyType({entity.resource: entity for entity in ENTITIES}),
            self.clock,
            lambda session: None,
            MappingProxyType({}),
        )

    def serve(
        self, backend: Backend, name: str, *services: str, abilities: Mapping[type[Any], Any] | None = None
    ) -> None:
        epoch = self.router.next_epoch()
        self.router.publish(*(Route(one, name, backend, epoch, abilities=abilities or {}) for one in services))

    def authenticate_by(self, accounts: Any) -> None:
        self.serve(self.backend, "test", "auth", abilities={Authenticates: accounts, RecoversAccounts: accounts})

    async def populate(self, tenant: str = "acme") -> None:
        roles: tuple[Role, ...] = ("admin", "manager", "agent", "viewer")
        rows = tuple(
            User(
                id=new_id(),
                email=f"{role}@{tenant}.test",
                display_name=f"{role} of {tenant}",
                role=cast("UserRole", role),
            )
            for role in roles
        )
        tenant_id = self.tenants.get(tenant, tenant)
        system = Identity("system", tenant_id, "system")
        answer = await self.backend.handle(Request("create", "users", system, rows=rows, operation_id=new_id()))
        assert all(outcome.ok for outcome in answer.outcomes)
        for outcome in answer.outcomes:
            user = outcome.row
            key = user.role if tenant == "acme" else f"{tenant}.{user.role}"
            self.users[key] = user
            self.identities[key] = Identity(user.id, tenant_id, user.role, user.email)
        self.identities["system" if tenant == "acme" else f"{tenant}.system"] = system

    def as_(self, who: str) -> Services:
        return Services(self.wiring, self.identities[who])

    @property
    def admin(self) -> Services:
        return self.as_("admin")

    @property
    def manager(self) -> Services:
        return self.as_("manager")

    @property
    def agent(self) -> Services:
        return self.as_("agent")

    @property
    def viewer(self) -> Services:
        return self.as_("viewer")
