"""The command line: `interlock up`, `interlock status`, `interlock call customers.list`, ..."""

from __future__ import annotations

from interlock.cli.program import build, main

__all__ = ["build", "main"]
