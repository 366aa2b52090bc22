"""The net counts and cost of an event: its row and its adjustments. Read-only."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from billing.ledger.adjustments import Correction
from billing.models import UsageEvent
from billing.pricing.types import TOKEN_COUNTS
from billing.types import CorrectionKind, EventKind
from costtrack.ids import earliest_after
from costtrack.money import ZERO

COUNTS = ("requests", "tool_calls", "turns", "unpriced", *TOKEN_COUNTS, "tool_use_tokens", "tool_result_tokens")
AMOUNTS = ("duration_ms", "token_cost_usd", "compute_cost_usd")
"""With `COUNTS`, all columns of the ledger that are summed."""

_MANUAL = (CorrectionKind.VOID, CorrectionKind.ADJUST)


@dataclass(frozen=True, slots=True)
class AdjustedEvent:
    """An event (not an adjustment) with its adjustments, oldest first."""

    event: UsageEvent
    adjustments: tuple[UsageEvent, ...]

    @property
    def corrections(self) -> tuple[Correction, ...]:
        """Descriptions of the adjustments, in the same order."""
        return tuple(map(Correction.of, self.adjustments))

    @property
    def is_voided(self) -> bool:
        return any(correction.kind is CorrectionKind.VOID for correction in self.corrections)

    @property
    def has_manual_correction(self) -> bool:
        """Whether a user has voided the event or set its cost."""
        return any(correction.kind in _MANUAL for correction in self.corrections)

    @property
    def is_priced(self) -> bool:
        """Whether the cost is known."""
        return self.count("unpriced") <= 0

    @property
    def cost_usd(self) -> Decimal | None:
        """The net cost; None while it is unknown."""
        return self.known_cost_usd if self.is_priced else None

    @property
    def known_cost_usd(self) -> Decimal:
        """The known part of the net cost."""
        return self.amount("token_cost_usd") + self.amount("compute_cost_usd")

    def count(self, column: str) -> int:
        """The sum of one of the `COUNTS`."""
        return sum(getattr(row, column) for row in (self.event, *self.adjustments))

    def amount(self, column: str) -> Decimal:
        """The sum of one of the `AMOUNTS`."""
        return sum((getattr(row, column) or ZERO for row in (self.event, *self.adjustments)), ZERO)


def load_adjusted_event(event: UsageEvent) -> AdjustedEvent:
    return AdjustedEvent(event, adjustments_of([event]).get(event.pk, ()))


def adjustments_of(events: Iterable[UsageEvent]) -> dict[UUID, tuple[UsageEvent, ...]]:
    """Return the adjustments of events of one organization, by event id. Events without adjustments are omitted."""
    by_id = {event.pk: event for event in events if event.kind != EventKind.ADJUSTMENT.value}
    if not by_id:
        return {}
    organization_id = next(iter(by_id.values())).organization_id
    rows = UsageEvent.objects.filter(
        organization_id=organization_id,
        id__gte=earliest_after(min(by_id)),  # skips earlier partitions
        adjusts__in=list(by_id),
    )
    by_event: dict[UUID, list[UsageEvent]] = {}
    for row in rows.order_by("received_at", "id"):
        if row.adjusts is not None:
            by_event.setdefault(row.adjusts, []).append(row)
    return {event_id: tuple(adjustments) for event_id, adjustments in by_event.items()}
