"""The counts as Prometheus reads them. Imported where it is served: the library takes its time to load."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from interlock.observability.durations import Durations
from interlock.observability.metrics import ABOUT, Reading, Recorder

__all__ = ["CONTENT_TYPE", "Exposition"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class Exposition:
    """One application's metrics, in a registry of their own: two applications in one process share nothing."""

    def __init__(self, recorder: Recorder, version: str) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(_Counts(recorder, version))
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """Everything counted so far."""
        return generate_latest(self.registry)


class _Counts(Collector):
    """Reads the counts when the registry asks for them."""

    def __init__(self, recorder: Recorder, version: str) -> None:
        self._recorder = recorder
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Every metric with its values."""
        yield _histogram(self._recorder.operations)
        yield _histogram(self._recorder.http)
        by_name: dict[str, list[Reading]] = {name: [] for name in ABOUT}
        for reading in self._recorder.readings():
            by_name[reading.name].append(reading)
        for name, readings in by_name.items():
            yield _family(name, readings)
        info = GaugeMetricFamily("interlock_build_info", "1 for the version that runs.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info


def _family(name: str, readings: list[Reading]) -> Metric:
    kind, about = ABOUT[name]
    made = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    family = made(name, about, labels=[label for label, _ in readings[0].labels] if readings else [])
    for reading in sorted(readings, key=lambda one: one.labels):
        family.add_metric([value for _, value in reading.labels], reading.value)
    return family


def _histogram(durations: Durations) -> Metric:
    family = HistogramMetricFamily(durations.name, durations.about, labels=durations.labels)
    bounds = [*(f"{bound:g}" for bound in durations.bounds), "+Inf"]
    for values, series in durations:
        buckets = list(zip(bounds, accumulate(series.buckets), strict=True))
        family.add_metric(values, buckets=buckets, sum_value=series.seconds)
    return family
