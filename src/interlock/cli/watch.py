"""Follows the configuration while the product runs: SIGHUP or an edited file, and the services switch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from interlock.app import App, Switch
from interlock.errors import InterlockError, Misconfigured
from interlock.log import get_logger
from interlock.settings import Settings

__all__ = ["ConfigWatch"]

_log = get_logger("interlock")

WATCHED = (Path(".env"), Path("interlock.toml"))

# These are read at each use, or decide only which backend serves: everything else takes effect at the next start.
_LIVE = frozenset({"api_mode", "backends", "api_base_url", "api_timeout", "api_dialect", "http_engine", "database_url"})


class ConfigWatch:
    """Reads the configuration again and switches the services that it moves: all of them, or none.

    A service that was switched by hand stays where it is until its own line in the configuration changes.
    """

    def __init__(self, app: App, load: Callable[[], Settings], files: Iterable[Path] = WATCHED) -> None:
        self._app = app
        self._load = load
        self._files = tuple(files)
        self._seen = self._stamps()
        self._asked = asyncio.Event()

    async def follow(self, every: float = 0.5) -> None:
        """Look at the files every so often, and at once where `ask` says so, for ever."""
        while True:
            try:
                await asyncio.wait_for(self._asked.wait(), every)
            except TimeoutError:
                if self._stamps() == self._seen:
                    continue
            self._asked.clear()
            self._seen = self._stamps()
            await self.reload()

    def ask(self) -> None:
        """Have the configuration read again soon, whether or not a file has changed."""
        self._asked.set()

    async def reload(self) -> tuple[Switch, ...]:
        """Take over what the configuration says now. A bad one changes nothing, and every problem of it is logged."""
        try:
            return await self._take_over()
        except Misconfigured as error:
            for problem in error.problems:
                _log.error("configuration refused, nothing changed", problem=problem)
        except InterlockError as error:
            _log.error("configuration refused, nothing changed", problem=error.message)
        return ()

    async def _take_over(self) -> tuple[Switch, ...]:
        new = self._load()
        new.check()
        old = self._app.settings
        moved = {
            service: new.backend_of(service)
            for service in self._app.service_names
            if new.backend_of(service) != old.backend_of(service)
        }
        self._app.settings = new
        try:
            done = await self._app.switch_many(moved) if moved else ()
        except BaseException:
            self._app.settings = old
            raise
        for name in type(new).model_fields:
            if name not in _LIVE and getattr(new, name) != getattr(old, name):
                _log.warning("takes effect at the next start", setting=name)
        _log.info("configuration read again", switched=[f"{each.service} {each.old} -> {each.new}" for each in done])
        return done

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._files)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
