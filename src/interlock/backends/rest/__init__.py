"""The REST backend and the dialects that describe the APIs it speaks to."""

from interlock.backends.rest.backend import GatewayBackend, RestBackend
from interlock.backends.rest.caller import RestSettings
from interlock.backends.rest.dialects import (
    ASPNET,
    INTERLOCK,
    JSON_SERVER,
    PRESETS,
    Dialect,
    Envelope,
    Faults,
    Pages,
    Slices,
    Sorting,
    dialect_named,
)
from interlock.backends.rest.filtering import ExpressionFilters, Filtering, ParamFilters

__all__ = [
    "ASPNET",
    "INTERLOCK",
    "JSON_SERVER",
    "PRESETS",
    "Dialect",
    "Envelope",
    "ExpressionFilters",
    "Faults",
    "Filtering",
    "GatewayBackend",
    "Pages",
    "ParamFilters",
    "RestBackend",
    "RestSettings",
    "Slices",
    "Sorting",
    "dialect_named",
]
