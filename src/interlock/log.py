"""The library's loggers: structlog's, and silent until a program configures structlog, for a library has no say in where logs go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

__all__ = ["Logger", "get_logger"]


class Logger:
    """Says things by structlog, with fields of its own, once structlog is configured."""

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        self._name = name
        self._fields = dict(fields)

    def bind(self, **fields: Any) -> Logger:
        """This logger, with more fields."""
        return Logger(self._name, {**self._fields, **fields})

    def _say(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        if structlog.is_configured():
            getattr(structlog.get_logger(self._name), level)(event, **{**self._fields, **fields})

    def debug(self, event: str, **fields: Any) -> None:
        """What only who looks for a fault wants to know."""
        self._say("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """What happens as it should."""
        self._say("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """What somebody may have to mend."""
        self._say("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """What went wrong."""
        self._say("error", event, fields)


def get_logger(name: str) -> Logger:
    """The logger of a part of the library."""
    return Logger(name, {})
