"""Session summaries: authoritative totals that replace the running totals of a session (document 003).

The ledger is append-only, so a summary is written as the difference between its totals and the sums of the session's
events. Totals that the summary does not name keep their running value.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec
from django.db import connection
from django.db.models import Sum
from django.db.models.functions import Coalesce

from billing.ledger.adjustments import IN_SUMMARY, adjustment_of
from billing.ledger.net_cost import AdjustedEvent, adjustments_of
from billing.ledger.types import SUMMARY_AMOUNTS, SUMMARY_COUNTS, SUMMARY_TOTALS, LedgerEntry
from billing.models import Session, UnpricedEvent, UsageEvent
from costtrack.money import ZERO


def lock_session(organization_id: int, summary: LedgerEntry) -> None:
    """Lock the session until the transaction ends, which serializes its summaries."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [summary.session_id, organization_id])


def to_difference(organization_id: int, summary: LedgerEntry) -> LedgerEntry:
    """Return the entry that makes the current sums of the session equal to the summary."""
    running = (
        Session.live()
        .objects.filter(organization_id=organization_id, session_id=summary.session_id)
        .aggregate(**{name: Sum(name) for name in SUMMARY_TOTALS})
    )
    differences: dict[str, int | Decimal] = dict.fromkeys(SUMMARY_COUNTS, 0) | dict.fromkeys(SUMMARY_AMOUNTS, ZERO)
    for name in summary.named_counts:
        differences[name] = getattr(summary, name) - (running[name] or 0)
    return msgspec.structs.replace(summary, **differences)


def lock_pending_summaries(organization_id: int, summary: LedgerEntry, limit: int) -> list[AdjustedEvent]:
    """Lock and return up to `limit` unpriced events of the session if the summary names its cost, else none.

    This waits for transactions that price or correct one of the events, so the session's sums include their result.
    """
    if "token_cost_usd" not in summary.named_counts:
        return []
    queue = UnpricedEvent.objects.filter(organization_id=organization_id)
    # Of an event that another source has completed, an adjustment has the session.
    unpriced = UsageEvent.objects.filter(organization_id=organization_id, session_id=summary.session_id, unpriced__gt=0)
    named = unpriced.annotate(queued_id=Coalesce("adjusts", "id")).filter(queued_id__in=queue.values("event_id"))
    pending = list(named.values_list("queued_id", flat=True).distinct()[:limit])
    if not pending:
        return []
    locked = list(
        queue.filter(event_id__in=pending).order_by("event_id").select_for_update().values_list("event_id", flat=True)
    )
    events = UsageEvent.objects.filter(organization_id=organization_id, id__in=locked).order_by("id")
    adjustments = adjustments_of(events)
    adjusted_events = (AdjustedEvent(event, adjustments.get(event.pk, ())) for event in events)
    return [event for event in adjusted_events if event.attributed.session_id == summary.session_id]


def mark_priced_by_summary(organization_id: int, adjusted_events: Sequence[AdjustedEvent]) -> list[LedgerEntry]:
    """Remove the events from the unpriced queue, because the summary's cost includes theirs, and return an adjustment
    for each that records this."""
    event_ids = [adjusted_event.event.pk for adjusted_event in adjusted_events]
    UnpricedEvent.objects.filter(organization_id=organization_id, event_id__in=event_ids).delete()
    return [
        adjustment_of(
            adjusted_event.event,
            reason=IN_SUMMARY,
            attributed=adjusted_event.attributed,
            token_cost_usd=ZERO,
            unpriced=-1,
        )
        for adjusted_event in adjusted_events
    ]
