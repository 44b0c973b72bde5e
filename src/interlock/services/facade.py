"""The ten services as one caller sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from interlock.abilities import Session
from interlock.contract import Identity, Record, Request, Response
from interlock.entity import Entity
from interlock.errors import Invalid, Unauthenticated
from interlock.router import Route, Router
from interlock.services.audit import Audit
from interlock.services.auth import Auth
from interlock.services.base import EntityService
from interlock.services.contracts import Contracts
from interlock.services.customers import Customers
from interlock.services.dashboard import Dashboard
from interlock.services.files import Files
from interlock.services.notifications import Notifications
from interlock.services.sales import Sales
from interlock.services.tickets import Tickets
from interlock.services.users import Users
from interlock.validation import suggest

__all__ = ["Services", "Wiring"]

R = TypeVar("R", bound=Record)
S = TypeVar("S", bound=EntityService[Any])


Written = Callable[[Entity[Any], Route, Request, Response], Awaitable[None]]


async def _untold(entity: Entity[Any], route: Route, request: Request, answer: Response) -> None:
    """Nobody asked to be told."""


@dataclass(frozen=True)
class Wiring:
    """What all sessions of one application share."""

    router: Router
    entities: Mapping[str, Entity[Any]]
    now: Callable[[], datetime]
    remember: Callable[[Session], None]
    """Told of every log-in, so that backends which trust only their own tokens can be called with them."""
    own: Mapping[str, type[EntityService[Any]]]
    """The services of the application's own entities, by resource."""
    written: Written = _untold
    """Told of every write that was answered, so that the trail has it whoever accepted it."""


class Services:
    """The ten services for one caller: `crm.customers`, `crm.sales`, ... Cheap to make; make one per request or session."""

    def __init__(self, wiring: Wiring, identity: Identity | None = None, *, references_checked: bool = False) -> None:
        self._wiring = wiring
        self._identity = identity
        self.references_checked = references_checked
        self._session: Session | None = None
        self._made: dict[str, EntityService[Any]] = {}
        self.route: Callable[[str], Route] = wiring.router.route
        self.entities = wiring.entities
        self.now = wiring.now

    def __repr__(self) -> str:
        return f"Services(identity={self._identity!r})"

    # -- the caller -----------------------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        """Who calls. Raises `Unauthenticated` where nobody is logged in."""
        if self._identity is None:
            raise Unauthenticated
        return self._identity

    @property
    def services(self) -> Services:
        """These services."""
        return self

    @property
    def session(self) -> Session | None:
        """The log-in that was made here, if one was."""
        return self._session

    def adopt(self, session: Session | None) -> None:
        """From now on the caller is who the session says, or nobody."""
        self._session = session
        self._identity = session.identity if session else None
        if session:
            self._wiring.remember(session)

    async def written(self, entity: Entity[Any], route: Route, request: Request, answer: Response) -> None:
        """Told of every write that was answered."""
        await self._wiring.written(entity, route, request, answer)

    # -- the services ---------------------------------------------------------------------------------------------

    @cached_property
    def auth(self) -> Auth:
        """Log-in and account recovery."""
        return Auth(self)

    @cached_property
    def customers(self) -> Customers:
        """Customers and their tags."""
        return Customers(self)

    @cached_property
    def sales(self) -> Sales:
        """Deals and the stages that they move through."""
        return Sales(self)

    @cached_property
    def tickets(self) -> Tickets:
        """Support tickets and their comments."""
        return Tickets(self)

    @cached_property
    def contracts(self) -> Contracts:
        """Contracts with customers."""
        return Contracts(self)

    @cached_property
    def users(self) -> Users:
        """The people of the tenant."""
        return Users(self)

    @cached_property
    def dashboard(self) -> Dashboard:
        """Figures over the other services."""
        return Dashboard(self)

    @cached_property
    def notifications(self) -> Notifications:
        """Messages to users."""
        return Notifications(self)

    @cached_property
    def files(self) -> Files:
        """Files and their bytes."""
        return Files(self)

    @cached_property
    def audit(self) -> Audit:
        """The trail of accepted writes."""
        return Audit(self)

    def use(self, entity: Entity[R]) -> EntityService[R]:
        """The service of an entity of one's own, typed by its record."""
        return self.of(entity.resource)

    def of(self, resource: str) -> EntityService[Any]:
        """The service of any public resource. Raises `Invalid` for one that does not exist."""
        made = self._made.get(resource)
        if made is None:
            made = self._made[resource] = self._make(resource)
        return made

    def _make(self, resource: str) -> EntityService[Any]:
        entity = self.entities.get(resource)
        if entity is None or entity.internal:
            known = [name for name, found in self.entities.items() if not found.internal]
            raise Invalid({"resource": f"{resource!r} does not exist{suggest(resource, known)}"})
        if resource == "deals":
            return self.sales
        owner = getattr(self, entity.service, None)
        if isinstance(owner, EntityService):
            if owner.entity is entity:
                return owner
            if resource in owner.parts:
                return owner.parts[resource](entity, self)
        return self._wiring.own.get(resource, EntityService)(entity, self)
