"""Settings, plans and applications that outlive the bench, so that what it left behind can be looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.app import App
from interlock.cli.benching import Plan
from interlock.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """A quick plan; what a test wants otherwise goes into its arguments."""

    def make(*backends: str, **parts: Any) -> Plan:
        return Plan(
            backends=backends or ("mock", "sql"), **{"calls": 20, "concurrency": (1, 4), "records": 30, **parts}
        )

    return make


class Kept:
    """Opens applications for a bench and keeps them open after it."""

    def __init__(self) -> None:
        self.apps: dict[str, App] = {}

    async def open(self, settings: Settings) -> Any:
        app = self.apps[settings.api_mode] = await App.open(settings)
        return _Lent(app)


class _Lent:
    """An application that its borrower cannot close."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def aclose(self) -> None:
        """Nothing: the lender closes it."""


@pytest.fixture
async def kept(anyio_backend: str) -> AsyncIterator[Kept]:
    keeper = Kept()
    yield keeper
    for app in keeper.apps.values():
        await app.aclose()
