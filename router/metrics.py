"""Prometheus metrics of a role: its counts, read when they are asked for."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Gauges = Callable[[], Mapping[str, float]]


class RoleCollector(Collector):
    """`counts` are dataclasses of integers: each field is the counter
    `router_<name>_<field>_total`. `gauges` gives the rest, by its whole name less `router_`."""

    def __init__(self, counts: "Mapping[str, DataclassInstance]", gauges: Gauges) -> None:
        self.counts = counts
        self.gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for name, counted in self.counts.items():
            for field, value in asdict(counted).items():
                yield CounterMetricFamily(
                    f"router_{name}_{field}", f"{field} since the start", value=value
                )
        for name, value in self.gauges().items():
            yield GaugeMetricFamily(f"router_{name}", name.replace("_", " "), value=value)


def registry_of(collector: RoleCollector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry
