"""The selection of calls to check."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from costtrack.calendar import Span

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
