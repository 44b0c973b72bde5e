"""What the variables of the original guide mean here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from interlock.settings.kinds import flag

__all__ = [
    "FLAG_MEND",
    "GUIDE",
    "GUIDE_API",
    "GUIDE_BACKENDS",
    "GUIDE_FLAGS",
    "GUIDE_PLACEHOLDERS",
    "Meaning",
    "guide_service",
]

FLAG_MEND: Final = "write true or false"


class Meaning(NamedTuple):
    """What a variable of the guide means here. `convert` answers the value that our own variable would have."""

    field: str
    convert: Callable[[str], Any] = str.strip
    mend: str | None = None


def _milliseconds(value: str) -> Any:
    try:
        return float(value) / 1000
    except ValueError:
        return value


def _mock_or_real(value: str) -> Any:
    mock = flag(value)
    return ("mock" if mock else "real") if isinstance(mock, bool) else value


_MS_MEND = "give milliseconds above 0, such as 30000"

GUIDE: Final[Mapping[str, Meaning]] = MappingProxyType(
    {
        # Read in this order: a later one wins, so the mode is stronger than the older switch.
        "VITE_USE_MOCK_API": Meaning("api_mode", _mock_or_real, FLAG_MEND),
        "VITE_API_MODE": Meaning("api_mode"),
        "VITE_API_BASE_URL": Meaning("api_base_url"),
        "VITE_API_ENVIRONMENT": Meaning("environment"),
        "VITE_API_TIMEOUT": Meaning("api_timeout", _milliseconds, _MS_MEND),
        "VITE_SUPABASE_URL": Meaning("supabase_url"),
        "VITE_SUPABASE_ANON_KEY": Meaning("supabase_anon_key"),
        "VITE_SUPABASE_SERVICE_KEY": Meaning("supabase_service_key"),
        "VITE_SUPABASE_ENABLE_REALTIME": Meaning("supabase_realtime"),
        "VITE_SUPABASE_ENABLE_OFFLINE": Meaning("supabase_offline"),
        "VITE_SUPABASE_SYNC_INTERVAL": Meaning("supabase_sync_interval", _milliseconds, _MS_MEND),
        "VITE_SUPABASE_AUTH_METHOD": Meaning("supabase_auth_method"),
        "VITE_ENABLE_SERVICE_CACHE": Meaning("cache"),
        "VITE_CACHE_TTL": Meaning("cache_ttl", _milliseconds, _MS_MEND),
        "VITE_ENABLE_REQUEST_DEDUPLICATION": Meaning("dedup"),
        "VITE_ENABLE_BATCH_REQUESTS": Meaning("batch"),
        "VITE_ENABLE_SERVICE_LOGGING": Meaning("log_calls"),
        "VITE_ENABLE_PERFORMANCE_METRICS": Meaning("metrics"),
        "VITE_ENABLE_ERROR_TRACKING": Meaning("error_tracking"),
        "VITE_DEBUG_SERVICE_FACTORY": Meaning("debug"),
    }
)
"""The guide's variables. `VITE_<SERVICE>_BACKEND` is accepted for each service as well."""

GUIDE_BACKENDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "customers": "supabase",
        "sales": "real",
        "tickets": "mock",
        "contracts": "supabase",
        "users": "real",
        "dashboard": "mock",
        "notifications": "supabase",
        "files": "supabase",
        "audit": "real",
    }
)
"""The guide's backend of each service that it does not name, where it names that of another one."""

GUIDE_FLAGS: Final = ("cache", "dedup", "batch", "log_calls", "metrics", "error_tracking")
"""On by the guide, where its variables are used and none of them says otherwise."""

GUIDE_PLACEHOLDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "VITE_SUPABASE_URL": "https://your-project.supabase.co",
        "VITE_SUPABASE_ANON_KEY": "your-anon-key",
        "VITE_SUPABASE_SERVICE_KEY": "your-service-key",
    }
)
"""What stands in the guide's file where a project's own values go: as good as not set."""

GUIDE_API: Final = "http://localhost:5137/api/v1"
"""The guide's address of the real API: the one that `up` brings."""


def guide_service(name: str) -> str:
    """Our name of a service, by the guide's: it says `customer` where we say `customers`."""
    plural = f"{name}s"
    return plural if plural in GUIDE_BACKENDS else name
