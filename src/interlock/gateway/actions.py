"""The services' own verbs over HTTP."""

from __future__ import annotations

from typing import Any

from interlock.contract import Page
from interlock.gateway.bodies import floats
from interlock.gateway.calls import Call
from interlock.gateway.problems import NoRoute, Refused
from interlock.gateway.replies import Reply, json_reply
from interlock.services.actions import ACTIONS, run_action

__all__ = ["act"]


async def act(call: Call) -> Reply:
    """POST {service}/actions/{name}: arguments as a JSON object, the result as JSON."""
    call.no_query()
    service, name = call.path_params["service"], call.path_params["name"]
    if name not in ACTIONS.get(service, {}):
        raise NoRoute(f"there is no action {name[:50]!r} of {service[:50]!r}; see /openapi.json")
    arguments: Any = floats(await call.json(empty={}))
    if not isinstance(arguments, dict):
        raise Refused({"body": "is not a JSON object of arguments"})
    result = await run_action(call.services, service, name, arguments, operation_id=call.operation_id)
    if isinstance(result, Page):
        return json_reply({"items": result.items, "total": result.total, "nextCursor": result.next_cursor})
    return json_reply(result)
