"""The text that Prometheus reads: counters of all processes of this host, and gauges of the health checks.

The checks read a bounded number of rows, and their result is reused for some seconds, so that several scrapers cost no
more than one.
"""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cachetools import TTLCache
from django.conf import settings
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from costtrack.health import registry
from costtrack.health.measures import Measure, declare, declared
from costtrack.health.registry import Check
from costtrack.metrics.instruments import PROCESS, publish_pool
from costtrack.metrics_folder import remove_files_of_ended_processes

_CACHE_SECONDS = 5

_READY = declare("costtrack_ready", "Whether each check of /readyz is ok (1) or fails (0).", "check")
_FAILING = declare("costtrack_failing_checks", "Checks of the Health page that fail.")


@dataclass(frozen=True, slots=True)
class _Checks:
    needed: list[Check]
    """Those of `/readyz`."""
    others: list[Check]


_cache: TTLCache[str, _Checks] = TTLCache(1, _CACHE_SECONDS)
_lock = threading.Lock()


def render(accept: str) -> tuple[bytes, str]:
    """Return all metrics in the best format that `accept` allows, and its content type."""
    encode, content_type = choose_encoder(accept)
    publish_pool()
    collected = CollectorRegistry()
    collected.register(_HealthCollector())
    if settings.METRICS_FOLDER is None:
        collected.register(PROCESS)
    else:
        remove_files_of_ended_processes(settings.METRICS_FOLDER, "gauge_live*.db")
        MultiProcessCollector(collected, str(settings.METRICS_FOLDER))  # type: ignore[no-untyped-call]
    return encode(collected), content_type


def forget_checks() -> None:
    """Let the next request run the checks again."""
    with _lock:
        _cache.clear()


class _HealthCollector(Collector):
    def collect(self) -> Iterator[GaugeMetricFamily]:
        families: dict[str, GaugeMetricFamily] = {}
        for measure in _measures(_read_checks()):
            gauge = measure.gauge
            if gauge.name not in families:
                labels = [gauge.label] if gauge.label else []
                families[gauge.name] = GaugeMetricFamily(gauge.name, gauge.description, labels=labels)
            families[gauge.name].add_metric([measure.label] if gauge.label else [], measure.value)
        yield from (families[name] for name in declared if name in families)


def _read_checks() -> _Checks:
    with _lock:
        checks = _cache.get("checks")
        if checks is None:
            checks = _cache["checks"] = _Checks(*registry.checks_if_reachable())
        return checks


def _measures(checks: _Checks) -> Iterable[Measure]:
    every = [*checks.needed, *checks.others]
    yield from (_READY.measure(check.ok, check.name) for check in checks.needed)
    yield _FAILING.measure(sum(not check.ok for check in every))
    for check in every:
        yield from check.measures
