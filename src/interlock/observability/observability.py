"""What the application holds to be watched by: metrics, and on request logs of calls, traces and reports of unexpected errors."""

from __future__ import annotations

from collections.abc import Callable

from interlock.contract import Backend
from interlock.layers.meter import Meter, Role
from interlock.observability.metrics import Metrics, Recorder

__all__ = ["Observability"]

Around = Callable[[Backend], Backend]


class Observability:
    """One for each application: nothing of it is shared within the process.

    `metrics` counts calls. Without any of its parts, `meter_for` gives None, and a call costs nothing.
    """

    def __init__(self, *, metrics: bool = True) -> None:
        self.recorder = Recorder()
        self._metrics = metrics

    def meter_for(self, service: str, backend: str, epoch: int = 0, *, role: Role = "primary") -> Around | None:
        """What is put around the layers of a route; None where nothing is to be watched."""
        around: list[Around] = []
        if self._metrics:
            counts = self.recorder.counts(service, backend, role)
            around.append(lambda inner: Meter(inner, counts))
        return _together(around)

    def get_metrics(self) -> Metrics:
        """Everything counted so far."""
        return self.recorder.snapshot()


def _together(around: list[Around]) -> Around | None:
    """The layers as one, the first of them innermost."""

    def build(inner: Backend) -> Backend:
        for layer in around:
            inner = layer(inner)
        return inner

    return build if around else None
