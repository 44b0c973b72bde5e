"""Reads the sources of settings, and keeps with each value the variable that it came from."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from dotenv import dotenv_values

from interlock.settings.guide import GUIDE, GUIDE_API, GUIDE_BACKENDS, GUIDE_FLAGS, GUIDE_PLACEHOLDERS, guide_service
from interlock.settings.kinds import lowered
from interlock.settings.limits import LIMITS
from interlock.validation import suggest

__all__ = ["AUTO", "GUIDES_DEFAULT", "PREFIX", "Given", "Reading", "either"]

PREFIX: Final = "INTERLOCK_"
AUTO: Final = "auto"
"""The backend of a service that follows the mode."""
GUIDES_DEFAULT: Final = "the guide's default"
"""The source of what nobody wrote."""


class Given(NamedTuple):
    """A value and the variable (or file and key) that it came from."""

    value: Any
    source: str
    raw: Any


class Reading:
    """Collects values and problems, source after source; a later source wins."""

    def __init__(self, fields: Iterable[str], services: Sequence[str], backends: Sequence[str]) -> None:
        self.fields = frozenset(fields) - {"backends", "limits"}
        self.services = tuple(services)
        self.known_backends = tuple(backends)
        self.values: dict[str, Given] = {}
        self.backends: dict[str, Given] = {}
        self.limits: dict[str, dict[str, Given]] = {}
        self.problems: list[str] = []
        self.placeholders: list[str] = []
        """The variables of the guide that still hold what stands in its file."""

    def dotenv(self, path: Path | str | None) -> dict[str, str]:
        text = self._text(path, ".env")
        if text is None:
            return {}
        return {
            name: value for name, value in dotenv_values(stream=io.StringIO(text), interpolate=False).items() if value
        }

    def toml(self, path: Path | str | None) -> None:
        text = self._text(path, "interlock.toml")
        if text is None:
            return
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self.problems.append(f"{path}: is not TOML: {error}; mend that line")
            return
        named = document.pop("backends", {})
        if not isinstance(named, dict):
            self.problems.append(
                f'{path} [backends]: is not a table; write [backends] and lines such as customers = "sql"'
            )
            named = {}
        for service, backend in named.items():
            if service in self.services:
                self._point(service, backend, f"{path} [backends] {service}")
            else:
                self.problems.append(
                    f"{path} [backends] {service}: there is no such service{suggest(service, self.services)}"
                )
        limits = document.pop("limits", {})
        for backend, own in limits.items() if isinstance(limits, dict) else ():
            for key, value in own.items() if isinstance(own, dict) else ():
                where = f"{path} [limits.{backend}] {key}"
                if backend not in self.known_backends:
                    hint = suggest(backend, self.known_backends)
                    self.problems.append(f"{where}: there is no such backend{hint}")
                elif key not in LIMITS:
                    self.problems.append(f"{where}: there is no such limit{suggest(key, LIMITS)}")
                else:
                    self.limits.setdefault(backend, {})[key] = Given(value, where, value)
        for key, value in document.items():
            self._set(key, value, f"{path} {key}", str.lower)

    def own(self, env: Mapping[str, str]) -> None:
        for variable, value in env.items():
            if variable.startswith(PREFIX) and value.strip():
                self._set(variable.removeprefix(PREFIX).lower(), value, variable, lambda name: PREFIX + name.upper())

    def guide(self, *sources: Mapping[str, str]) -> None:
        """Read the guide's variables, and fill in its defaults where it is used."""
        env = {variable: value for source in sources for variable, value in source.items() if value.strip()}
        used = [variable for variable in GUIDE if variable in env]
        named = [variable for variable in env if variable.startswith("VITE_") and variable.endswith("_BACKEND")]
        if used or named:
            self.values.update({flag: Given(True, GUIDES_DEFAULT, True) for flag in GUIDE_FLAGS})
        if named:
            self.values["api_base_url"] = Given(GUIDE_API, GUIDES_DEFAULT, GUIDE_API)
            for service, backend in GUIDE_BACKENDS.items():
                if backend != "supabase" or "VITE_SUPABASE_URL" in env:
                    self.backends[service] = Given(backend, GUIDES_DEFAULT, backend)
        for variable in used:
            value, meaning = env[variable], GUIDE[variable]
            if value.strip() == GUIDE_PLACEHOLDERS.get(variable):
                self.placeholders.append(variable)
            else:
                self.values[meaning.field] = Given(meaning.convert(value), variable, value)
        for variable in named:
            service = guide_service(variable.removeprefix("VITE_").removesuffix("_BACKEND").lower())
            if service in self.services:
                self._point(service, env[variable], variable)
            else:
                known = [f"VITE_{name.upper()}_BACKEND" for name in self.services]
                self.problems.append(f"{variable}: there is no such service{suggest(variable, known)}")

    def _text(self, path: Path | str | None, default: str) -> str | None:
        if path is None:
            return None
        try:
            return Path(path).read_text("utf-8")
        except FileNotFoundError:
            if str(path) != default:
                self.problems.append(f"{path}: does not exist; give the path of a file")
        except OSError as error:
            self.problems.append(f"{path}: cannot be read ({error.strerror}); mend its permissions")
        except UnicodeDecodeError:
            self.problems.append(f"{path}: is not UTF-8; save it as UTF-8")
        return None

    def _set(self, key: str, value: Any, source: str, spell: Callable[[str], str]) -> None:
        service = key.removesuffix("_backend")
        if key in self.fields:
            self.values[key] = Given(value, source, value)
        elif service != key and service in self.services:
            self._point(service, value, source)
        elif (own := self._limit(key)) is not None:
            backend, limit = own
            self.limits.setdefault(backend, {})[limit] = Given(value, source, value)
        else:
            limits = (f"{backend}_{limit}" for backend in self.known_backends for limit in LIMITS)
            known = [*self.fields, *(f"{name}_backend" for name in self.services), *limits]
            hint = suggest(key, known).rpartition(" ")[2].strip("'?")
            mend = f"; did you mean {spell(hint)}?" if hint else "; remove it"
            self.problems.append(f"{source}: there is no such setting{mend}")

    def _limit(self, key: str) -> tuple[str, str] | None:
        """The backend and the limit that a key such as `real_deadline` names."""
        backend, _, limit = key.partition("_")
        return (backend, limit) if backend in self.known_backends and limit in LIMITS else None

    def _point(self, service: str, backend: Any, source: str) -> None:
        name = lowered(backend)
        if name == AUTO or name in self.known_backends:
            self.backends[service] = Given(name, source, backend)
        else:
            choice = either((*self.known_backends, AUTO))
            self.problems.append(
                f"{source}: {backend!r} is no backend{suggest(str(name), self.known_backends)}; choose {choice}"
            )


def either(names: Iterable[str]) -> str:
    """ "a, b or c"."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
