"""How the product is watched while it runs: metrics, logs, traces, reports of unexpected errors."""

from __future__ import annotations

from interlock.observability.metrics import CallStats, Metrics, Recorder, RouteStats
from interlock.observability.observability import Observability
from interlock.observability.tracking import SentryTracker, Tracker

__all__ = ["CallStats", "Metrics", "Observability", "Recorder", "RouteStats", "SentryTracker", "Tracker"]
