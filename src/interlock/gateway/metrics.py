"""Counts of calls by route template, in Prometheus' text format. No label holds a tenant, a user or an id."""

from __future__ import annotations

from typing import Final

__all__ = ["Meter"]

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram's buckets, in seconds."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

NAME: Final = "http_server_request_duration_seconds"


class _Line:
    """What is known of one method, route and status."""

    __slots__ = ("buckets", "count", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * len(BOUNDS)
        self.count = 0
        self.seconds = 0.0


class Meter:
    """Counts calls and how long they took until their answer began."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str, int], _Line] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One call was answered."""
        key = (method, route, status)
        line = self._lines.get(key)
        if line is None:
            if method not in METHODS:
                return self.count("other", route, status, seconds) if method != "other" else None
            line = self._lines[key] = _Line()
        line.count += 1
        line.seconds += seconds
        for place, bound in enumerate(BOUNDS):
            if seconds <= bound:
                line.buckets[place] += 1
                return None
        return None

    def text(self) -> str:
        """Everything counted so far."""
        lines = [
            f"# HELP {NAME} Time until the answer to a call began.",
            f"# TYPE {NAME} histogram",
        ]
        for (method, route, status), line in sorted(self._lines.items()):
            labels = f'http_request_method="{method}",http_route="{route}",http_response_status_code="{status}"'
            so_far = 0
            for bound, held in zip(BOUNDS, line.buckets, strict=True):
                so_far += held
                lines.append(f'{NAME}_bucket{{{labels},le="{bound:g}"}} {so_far}')
            lines.append(f'{NAME}_bucket{{{labels},le="+Inf"}} {line.count}')
            lines.append(f"{NAME}_sum{{{labels}}} {line.seconds:.6f}")
            lines.append(f"{NAME}_count{{{labels}}} {line.count}")
        return "\n".join(lines) + "\n"
