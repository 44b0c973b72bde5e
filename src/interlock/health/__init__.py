"""Health: whether each backend answers, what that means for each service, and whether a whole set-up is right."""

from __future__ import annotations

from interlock.health.asking import PROBER
from interlock.health.monitor import HealthMonitor, HealthSettings
from interlock.health.report import BackendHealth, HealthReport, Reason, RouteState, ServiceHealth, Status
from interlock.health.validating import Validation, ValidationReport, validate_services

__all__ = [
    "PROBER",
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
    "validate_services",
]
