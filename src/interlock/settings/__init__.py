"""Configuration, read once into one typed, frozen object.

Every setting has the variable `INTERLOCK_<NAME>`, in the environment or in `.env`, and the key `<name>` in `interlock.toml`. The variables
of the original guide (`VITE_*`) are accepted as they stand. Where several speak, the order is: `INTERLOCK_*` of the environment, `INTERLOCK_*`
of `.env`, `interlock.toml`, `VITE_*` of the environment, `VITE_*` of `.env`. An empty value counts as absent.
"""

from __future__ import annotations

from interlock.settings.guide import GUIDE
from interlock.settings.local import LocalSupabase
from interlock.settings.model import BACKENDS, SERVICES, Settings

__all__ = ["BACKENDS", "GUIDE", "SERVICES", "LocalSupabase", "Settings"]
