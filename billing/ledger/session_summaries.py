"""Session summaries: authoritative totals that replace the running totals of a session (document 003).

The ledger is append-only, so a summary is written as the difference between its totals and the sums of the session's
events. Totals that the summary does not name keep their running value.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec
from django.db import connection
from django.db.models import Sum

from billing.ledger.adjustments import IN_SUMMARY, adjustment_of
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


def lock_pending_summaries(organization_id: int, summary: LedgerEntry, limit: int) -> list[UsageEvent]:
    """Lock and return up to `limit` unpriced events of the session if the summary names its cost, else none.

    This waits for transactions that price or correct one of the events, so the session's sums include their result.
    """
    if "token_cost_usd" not in summary.named_counts:
        return []
    queue = UnpricedEvent.objects.filter(organization_id=organization_id)
    unpriced = UsageEvent.objects.filter(
        organization_id=organization_id,
        session_id=summary.session_id,
        unpriced__gt=0,
        id__in=queue.values("event_id"),
    )
    events = {event.pk: event for event in unpriced[:limit]}
    locked = queue.filter(event_id__in=list(events)).order_by("event_id").select_for_update()
    return [events[event_id] for event_id in locked.values_list("event_id", flat=True)]


def mark_priced_by_summary(organization_id: int, events: Sequence[UsageEvent]) -> list[LedgerEntry]:
    """Remove the events from the unpriced queue, because the summary's cost includes theirs, and return an adjustment
    for each that records this."""
    UnpricedEvent.objects.filter(organization_id=organization_id, event_id__in=[event.pk for event in events]).delete()
    return [adjustment_of(event, reason=IN_SUMMARY, token_cost_usd=ZERO, unpriced=-1) for event in events]
