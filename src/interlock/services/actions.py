"""The services' own verbs as data: name, typed arguments, result. The gateway's `/actions` endpoints and the CLI's `call` use it.

Arguments are read from the method's own signature, so that they are written once.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

import msgspec

from interlock.contract import Role
from interlock.errors import Invalid
from interlock.services.audit import Audit
from interlock.services.contracts import Contracts
from interlock.services.customers import Customers
from interlock.services.dashboard import Dashboard
from interlock.services.notifications import Notifications
from interlock.services.policy import allowed
from interlock.services.sales import Sales
from interlock.services.tickets import Tickets
from interlock.services.users import Users
from interlock.validation import suggest

if TYPE_CHECKING:
    from interlock.services.facade import Services

__all__ = ["ACTIONS", "Action", "run_action"]


class Action(msgspec.Struct, frozen=True):
    """One verb of a service.

    `arguments` is a Struct with the arguments in camelCase; `result` the type of what comes back; `needs` the resource and action
    that the policy asks for; `writes` says that it takes an operation id or changes something.
    """

    service: str
    name: str
    method: str
    arguments: type[msgspec.Struct]
    result: Any
    needs: tuple[str, str]
    writes: bool
    summary: str
    variadic: str | None = None

    @property
    def takes_operation_id(self) -> bool:
        """True where the same operation id again changes nothing."""
        return "operation_id" in self.arguments.__struct_fields__

    @property
    def role(self) -> Role:
        """The least role that may do it."""
        able: tuple[Role, ...] = ("viewer", "agent", "manager", "admin")
        return next((role for role in able if self.needs[1] in allowed(role, self.needs[0])), "system")


def _action(service: str, resource: str, method: Callable[..., Any], needs: str) -> Action:
    name = method.__name__
    hints = typing.get_type_hints(method)
    fields: list[Any] = []
    variadic = None
    for parameter in tuple(inspect.signature(method).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            variadic = parameter.name
            fields.append((parameter.name, types.GenericAlias(tuple, (hints[parameter.name], ...))))
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, _plain(hints[parameter.name])))
        else:
            fields.append((parameter.name, _plain(hints[parameter.name]), parameter.default))
    arguments = msgspec.defstruct(
        "".join(part.capitalize() for part in (service, *name.split("_"))) + "Arguments",
        fields,
        frozen=True,
        kw_only=True,
        rename="camel",
        forbid_unknown_fields=True,
    )
    return Action(
        service=service,
        name=name,
        method=name,
        arguments=arguments,
        result=hints["return"],
        needs=(resource, needs),
        writes=needs not in ("list", "get"),
        summary=(inspect.getdoc(method) or "").partition("\n")[0],
        variadic=variadic,
    )


def _plain(annotation: Any) -> Any:
    """A sequence as a tuple, which has a JSON Schema; everything else as it is."""
    if get_origin(annotation) is Sequence:
        return types.GenericAlias(tuple, (get_args(annotation)[0], ...))
    return annotation


def _table(*actions: Action) -> Mapping[str, Mapping[str, Action]]:
    services: dict[str, dict[str, Action]] = {}
    for action in actions:
        services.setdefault(action.service, {})[action.name] = action
    return MappingProxyType({service: MappingProxyType(named) for service, named in services.items()})


ACTIONS: Final = _table(
    _action("customers", "customers", Customers.tags, "list"),
    _action("customers", "tags", Customers.create_tag, "create"),
    _action("customers", "customers", Customers.tag, "update"),
    _action("customers", "customers", Customers.untag, "update"),
    _action("customers", "customers", Customers.industries, "list"),
    _action("customers", "customers", Customers.sizes, "list"),
    _action("customers", "customers", Customers.nearby, "list"),
    _action("customers", "customers", Customers.find_duplicates, "list"),
    _action("customers", "customers", Customers.merge, "merge"),
    _action("sales", "deals", Sales.move, "update"),
    _action("sales", "deals", Sales.pipeline, "list"),
    _action("sales", "deals", Sales.forecast, "list"),
    _action("sales", "stages", Sales.stages, "list"),
    _action("sales", "stages", Sales.create_default_stages, "create"),
    _action("tickets", "tickets", Tickets.assign, "update"),
    _action("tickets", "comments", Tickets.comment, "create"),
    _action("tickets", "comments", Tickets.comments, "list"),
    _action("tickets", "tickets", Tickets.resolve, "update"),
    _action("tickets", "tickets", Tickets.reopen, "update"),
    _action("tickets", "tickets", Tickets.overdue, "list"),
    _action("contracts", "contracts", Contracts.expiring, "list"),
    _action("contracts", "contracts", Contracts.renew, "update"),
    _action("contracts", "contracts", Contracts.terminate, "update"),
    _action("users", "users", Users.invite, "create"),
    _action("users", "users", Users.set_role, "update"),
    _action("users", "users", Users.deactivate, "update"),
    _action("notifications", "notifications", Notifications.unread_count, "list"),
    _action("notifications", "notifications", Notifications.mark_read, "update"),
    _action("notifications", "notifications", Notifications.mark_all_read, "update"),
    _action("audit", "audit", Audit.history, "list"),
    _action("dashboard", "dashboard", Dashboard.stats, "list"),
    _action("dashboard", "dashboard", Dashboard.revenue_by_month, "list"),
    _action("dashboard", "dashboard", Dashboard.pipeline, "list"),
    _action("dashboard", "dashboard", Dashboard.ticket_load, "list"),
    _action("dashboard", "dashboard", Dashboard.customers_by_industry, "list"),
    _action("dashboard", "dashboard", Dashboard.renewals_due, "list"),
    _action("dashboard", "dashboard", Dashboard.recent_activity, "list"),
)
"""By service, then by name. Streams (uploads, downloads, changes, import, export) and log-ins are no actions: edges serve them apart."""


async def run_action(
    services: Services,
    service: str,
    name: str,
    arguments: Mapping[str, Any],
    *,
    operation_id: str | None = None,
    lax: bool = False,
) -> Any:
    """Call an action with arguments by their JSON names. `lax` reads numbers and dates from text, for the command line.

    Raises `Invalid` for what does not exist and for wrong arguments, naming them.
    """
    known = ACTIONS.get(service)
    if known is None:
        raise Invalid({"service": f"{service!r} has no actions{suggest(service, ACTIONS)}"})
    action = known.get(name)
    if action is None:
        raise Invalid({"action": f"{service} has no action {name!r}{suggest(name, known)}"})
    given = dict(arguments)
    if operation_id is not None and action.takes_operation_id:
        given["operationId"] = operation_id
    values = _arguments(action, given, lax=lax)
    spread = values.pop(action.variadic) if action.variadic else ()
    method = getattr(getattr(services, service), action.method)
    if spread:
        first = [values.pop(name) for name in action.arguments.__struct_fields__ if name in values][:1]
        return await method(*first, *spread)
    return await method(**values)


def _arguments(action: Action, given: Mapping[str, Any], *, lax: bool) -> dict[str, Any]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(action.arguments)}
    problems: dict[str, str] = {}
    values: dict[str, Any] = {}
    for key, value in given.items():
        field = fields.get(key)
        if field is None:
            problems[key] = f"is not an argument of {action.service}.{action.name}{suggest(key, fields)}"
            continue
        try:
            values[field.name] = _checked(field.type, value, lax=lax)
        except (msgspec.ValidationError, ValueError, OverflowError, RecursionError) as error:
            problems[field.name] = str(error).replace("`", "'")
    problems |= {field.name: "is required" for key, field in fields.items() if field.required and key not in given}
    if problems:
        raise Invalid(problems)
    return values


def _checked(type_: Any, value: Any, *, lax: bool) -> Any:
    converted = msgspec.convert(value, type_, strict=not lax)
    if isinstance(converted, str):
        converted.encode()  # a lone surrogate is a ValueError here, and would be a crash further in
    return converted
