"""Types that several reports share."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span of time, `start <= t < end`. None leaves a side open."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunCosts:
    """Cost of a set of runs, by service and by group within a service. `unpriced_events` counts events whose cost is
    unknown and not included."""

    total: Decimal
    by_service: Mapping[str, Decimal]
    by_group: Mapping[str, Mapping[str, Decimal]]
    unpriced_events: int
    as_of: datetime
