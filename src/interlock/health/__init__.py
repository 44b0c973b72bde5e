"""Health: whether each backend answers, what that means for each service, and whether a whole set-up is right."""

from __future__ import annotations

from interlock.health.asking import PROBER, Asking, cheap_read, probed, reason_of
from interlock.health.monitor import HealthMonitor, HealthSettings, resources_of
from interlock.health.report import BackendHealth, HealthReport, Reason, RouteState, ServiceHealth, Status
from interlock.health.validating import Validation, ValidationReport, validate_services

__all__ = [
    "PROBER",
    "Asking",
    "BackendHealth",
    "HealthMonitor",
    "HealthReport",
    "HealthSettings",
    "Reason",
    "RouteState",
    "ServiceHealth",
    "Status",
    "Validation",
    "ValidationReport",
    "cheap_read",
    "probed",
    "reason_of",
    "resources_of",
    "validate_services",
]
