"""The net counts and cost of an event: its row and its adjustments. Read-only.

`AdjustedEvent` has them in Python, `sum_adjustments` and what follows it in SQL. An event whose cost is unknown has
`unpriced` 1 and the adjustment that prices it -1, so the net cost is known if their sum is 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from psycopg import sql

from billing.ledger.adjustments import IS_VOID, Correction
from billing.models import UsageEvent
from billing.pricing.kinds import TOKEN_COUNTS
from billing.types import CorrectionKind, EventKind
from costtrack.ids import CLOCKS_DIFFER_MS, earliest_after
from costtrack.money import ZERO

COUNTS = ("requests", "tool_calls", "turns", "unpriced", *TOKEN_COUNTS, "tool_use_tokens", "tool_result_tokens")
AMOUNTS = ("duration_ms", "token_cost_usd", "compute_cost_usd")
"""With `COUNTS`, all columns of the ledger that are summed."""

_ADJUSTMENTS = sql.SQL("""
SELECT bool_or({is_void}) AS is_voided, {sums} FROM billing_usageevent AS adjustment
WHERE adjustment.organization_id = %(organization)s AND adjustment.id >= %(first_id)s
    AND adjustment.id >= {earliest} AND adjustment.adjusts = event.id
""")
_EARLIEST = sql.SQL("""
(SELECT (lpad(to_hex((extract(epoch FROM min(received_at)) * 1000)::bigint - {skew}), 12, '0') || repeat('0', 20))::uuid
FROM {events})
""")


def sum_adjustments(events: sql.Identifier) -> sql.Composed:
    """Build a SELECT of the sums of the adjustments of a row `event`, NULL if it has none.

    It is to be joined by CROSS JOIN LATERAL, so that they come from their index: another join might read all of them.
    Partitions before the first of the `events` are skipped, when the statement is planned (`first_id` is a lower bound
    of the ids) and when it runs.
    """
    sums = sql.SQL(", ").join(sql.SQL("sum({0}) AS {0}").format(sql.Identifier(name)) for name in (*COUNTS, *AMOUNTS))
    earliest = _EARLIEST.format(skew=sql.Literal(CLOCKS_DIFFER_MS), events=events)
    return _ADJUSTMENTS.format(is_void=sql.SQL(IS_VOID), sums=sums, earliest=earliest)


def net(column: str) -> sql.Composed:
    """Build the expression of a net count or amount, over rows `event` and `adjusted` (of `sum_adjustments`)."""
    total = sql.SQL("coalesce(event.{0}, 0) + coalesce(adjusted.{0}, 0)").format(sql.Identifier(column))
    # A sum of counts is numeric.
    return sql.SQL("({})::bigint" if column in COUNTS else "({})").format(total)


KNOWN_COST = sql.SQL("({} + {})").format(net("token_cost_usd"), net("compute_cost_usd"))
IS_PRICED = sql.SQL("({} <= 0)").format(net("unpriced"))
NET_COST = sql.SQL("CASE WHEN {} THEN {} END").format(IS_PRICED, KNOWN_COST)
IS_VOIDED = sql.SQL("coalesce(adjusted.is_voided, false)")

_MANUAL = (CorrectionKind.VOID, CorrectionKind.ADJUST)


@dataclass(frozen=True, slots=True)
class AdjustedEvent:
    """An event (not an adjustment) with its adjustments in the order in which they were made (`append_adjustments`)."""

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
    def attributed(self) -> UsageEvent:
        """The row whose dimensions count: the event, or the last adjustment that completed them."""
        completing = (
            adjustment
            for adjustment, correction in zip(reversed(self.adjustments), reversed(self.corrections), strict=True)
            if correction.kind is CorrectionKind.MERGED and adjustment.requests > 0
        )
        return next(completing, self.event)

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
    """Return the event with its adjustments. Those that are archived were made before those in the ledger."""
    return AdjustedEvent(event, (*event.archived_adjustments, *adjustments_of([event]).get(event.pk, ())))


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
