"""Counters and times for Prometheus, of all processes together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The variable with which prometheus_client is told a folder where processes put their counts together."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Seconds."""


class Metrics:
    """What is counted of one application.

    Args:
        images: how many images the store holds, asked at every scrape.
    """

    def __init__(self, images: Callable[[], int]) -> None:
        self._own = CollectorRegistry()
        self._images = images
        self.requests = Counter(
            "active_indexing_requests",
            "Requests by route and status",
            ["route", "status"],
            registry=self._own,
        )
        self.seconds = Histogram(
            "active_indexing_request_seconds", "Time to the answer", ["route"], buckets=BUCKETS,
            registry=self._own,
        )  # fmt: skip
        self.verdicts = Counter(
            "active_indexing_verdicts", "Answers by verdict", ["verdict"], registry=self._own
        )

    def text(self) -> bytes:
        """All of it in the text format of Prometheus."""
        registry = self._own
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return bytes(generate_latest(registry)) + bytes(generate_latest(_now(self._images)))


def _now(images: Callable[[], int]) -> CollectorRegistry:
    class Now(Collector):
        def collect(self) -> Iterator[GaugeMetricFamily]:
            yield GaugeMetricFamily("active_indexing_images", "Images in the store", value=images())

    registry = CollectorRegistry()
    registry.register(Now())
    return registry
