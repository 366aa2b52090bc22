"""Which calls are checked."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from costtrack.calendar import Span

DEFAULT_PERCENT = Decimal(1)
"""Bills are rounded, so smaller differences mean little."""


@dataclass(frozen=True, slots=True)
class CallSelection:
    """Calls of a window, of one service or model if it is named, and the percentage of the computed cost from which on
    a difference counts."""

    window: Span
    percent: Decimal = DEFAULT_PERCENT
    service: str = ""
    model: str = ""

    @property
    def conditions(self) -> dict[str, Any]:
        """The conditions on columns of the ledger."""
        named = {name: value for name in ("service", "model") if (value := getattr(self, name))}
        return {"occurred_at__gte": self.window.start, "occurred_at__lt": self.window.end, **named}
