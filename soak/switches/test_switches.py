"""A thousand switches under fifty callers."""

from __future__ import annotations

import pytest
from tests.switching.test_switching import app, no_call_is_lost, real_api

from interlock.app import App

__all__ = ["app", "real_api"]

pytestmark = pytest.mark.anyio


async def test_a_thousand_switches_lose_no_call_and_mix_no_answers(app: App, figures: dict[str, int]) -> None:
    written = await no_call_is_lost(app, switches=1000)
    figures.update(switches=1000, writes=written)
