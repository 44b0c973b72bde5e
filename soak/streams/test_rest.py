"""Server-sent events of ten thousand changes over a stream that is cut twenty times."""

from __future__ import annotations

import pytest
from tests.rest.test_cut_streams import app, each_change_is_told_once

from interlock.app import App

__all__ = ["app"]

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("run", range(3))
async def test_ten_thousand_changes_and_twenty_cuts(app: App, seed: int, run: int, figures: dict[str, int]) -> None:
    await each_change_is_told_once(app, seed=seed + run, changes=10_000, cuts=20)
    figures.update(changes=10_000, cuts=20)
