"""The selection of calls to check."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.reports.rollup_query import RollupQuery, read_sums
from billing.rollups.definitions import ORGANIZATION_HOURS
from costtrack.calendar import Span, Window, last_boundary, next_boundary
from costtrack.clock import HOUR
from costtrack.errors import InvalidError
from organizations.models import Organization

MAX_CALLS = 500_000
"""Maximum number of calls in a window: no rollup has their exactness, so all of them are read."""
DEFAULT_PERCENT = Decimal(1)
"""Bills are rounded, so smaller differences are not significant."""


@dataclass(frozen=True, slots=True)
class CallSelection:
    """Calls in a window, of one service or model if given. Differences below this percentage of the computed cost are
    ignored."""

    window: Span
    percent: Decimal = DEFAULT_PERCENT
    service: str = ""
    model: str = ""

    @property
    def conditions(self) -> dict[str, Any]:
        """Return the conditions on columns of the ledger."""
        named = {name: value for name in ("service", "model") if (value := getattr(self, name))}
        return {"occurred_at__gte": self.window.start, "occurred_at__lt": self.window.end, **named}


def require_readable(organization: Organization, selection: CallSelection) -> None:
    """Raise InvalidError if the window has more calls than one request may read. The filters do not count, because no
    index has them."""
    window = Window(last_boundary(selection.window.start, HOUR), next_boundary(selection.window.end, HOUR))
    (sums,) = read_sums(organization, RollupQuery.of(ORGANIZATION_HOURS, (), window, undropped_only=True))
    if sums and sums[0].requests > MAX_CALLS:
        raise InvalidError(
            f"end_date: The price check reads every call of the period, up to {MAX_CALLS:,}. Choose a shorter period.",
            param="end_date",
        )
