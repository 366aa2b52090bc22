"""The numbers of health checks, which `/metrics` exposes as gauges.

A gauge is declared once, beside the check that measures it:

    FOLD_LAG = declare("costtrack_fold_lag_seconds", "Age of the oldest unfolded batch.")

    Check("fold_lag", ..., measures=(FOLD_LAG.measure(lag.seconds),))

Labels have few values. They are never users, keys or organizations.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Gauge:
    """A metric with its description, and the name of its label if it has one."""

    name: str
    description: str
    label: str = ""

    def measure(self, value: float | Decimal, label: str = "") -> "Measure":
        return Measure(self, float(value), label)


@dataclass(frozen=True, slots=True)
class Measure:
    """The value of a gauge, for one value of its label."""

    gauge: Gauge
    value: float
    label: str = ""


declared: dict[str, Gauge] = {}


def declare(name: str, description: str, label: str = "") -> Gauge:
    gauge = declared[name] = Gauge(name, description, label)
    return gauge
