"""Session summaries: authoritative totals that replace a session's running ones (document 003).

The ledger only appends, so a summary is written as the difference between its totals and what the session's events
add up to. Whatever the summary does not name keeps its running value.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec
from django.db import connection
from django.db.models import Sum

from billing.ledger.adjustments import IN_SUMMARY, adjustment_of
from billing.ledger.types import SUMMARY_AMOUNTS, SUMMARY_COUNTS, SUMMARY_TOTALS, LedgerEntry
from billing.models import LiveSessionTotal, UnpricedEvent, UsageEvent
from costtrack.money import ZERO


def lock_session(organization_id: int, summary: LedgerEntry) -> None:
    """Until the transaction ends, so that two summaries of a session come one after the other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [summary.session_id, organization_id])


def as_difference(organization_id: int, summary: LedgerEntry) -> LedgerEntry:
    """The entry that makes the session's sums, as they are now, equal to the summary."""
    running = LiveSessionTotal.objects.filter(organization_id=organization_id, session_id=summary.session_id).aggregate(
        **{name: Sum(name) for name in SUMMARY_TOTALS}
    )
    differences: dict[str, int | Decimal] = dict.fromkeys(SUMMARY_COUNTS, 0) | dict.fromkeys(SUMMARY_AMOUNTS, ZERO)
    for name in summary.named_counts:
        differences[name] = getattr(summary, name) - (running[name] or 0)
    return msgspec.structs.replace(summary, **differences)


def lock_pending_summaries(organization_id: int, summary: LedgerEntry, most: int) -> list[UsageEvent]:
    """The session's events that wait for a price, if the summary names its cost. Whoever prices or corrects one of them
    at this moment is waited for: so what the session adds up to afterwards has that in it."""
    if "token_cost_usd" not in summary.named_counts:
        return []
    waiting = UnpricedEvent.objects.filter(organization_id=organization_id)
    unpriced = UsageEvent.objects.filter(
        organization_id=organization_id,
        session_id=summary.session_id,
        unpriced__gt=0,
        id__in=waiting.values("event_id"),
    )
    events = {event.pk: event for event in unpriced[:most]}
    held = waiting.filter(event_id__in=list(events)).order_by("event_id").select_for_update()
    return [events[event_id] for event_id in held.values_list("event_id", flat=True)]


def priced_by_summary(organization_id: int, events: Sequence[UsageEvent]) -> list[LedgerEntry]:
    """The summary's cost has theirs in it: takes the events out of the queue and answers, for each, the adjustment that
    says so."""
    UnpricedEvent.objects.filter(organization_id=organization_id, event_id__in=[event.pk for event in events]).delete()
    return [adjustment_of(event, reason=IN_SUMMARY, token_cost_usd=ZERO, unpriced=-1) for event in events]
