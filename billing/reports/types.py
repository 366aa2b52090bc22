"""What reports answer. Ours: nothing of a documented wire shape stands here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span of time, `start <= t < end`; an open side is None."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunCosts:
    """What a set of runs cost, by service and by group within a service. `unpriced_events` of them are not in the
    amounts, because their cost is not known."""

    total: Decimal
    by_service: Mapping[str, Decimal]
    by_group: Mapping[str, Mapping[str, Decimal]]
    unpriced_events: int
    as_of: datetime
