"""What has happened to an organization's limits in a span: thresholds that were reached, and changes. Read-only."""

from datetime import datetime
from typing import Any

from billing.models import PAUSING, ThresholdEvent
from billing.types import LimitUnit, amount_text
from costtrack.calendar import Span
from costtrack.clock import iso
from organizations.models import AuditEntry, Organization

MAX_ENTRIES = 1_000
"""Of each of the two lists."""
_ACTIONS = {
    "limit.created": "Limit created",
    "limit.changed": "Limit changed",
    "limit.removed": "Limit removed",
    "limit.raised": "Limit raised",
    "limit.paused": "Access paused",
    "limit.opened": "Access opened",
    "limit.override_ended": "Exception ended",
}


def limits_history(organization: Organization, span: Span) -> list[dict[str, Any]]:
    """Return the entries as JSON, oldest first: `at`, `limit`, `event` and `actor`. At most the first `MAX_ENTRIES`
    thresholds and changes each."""
    entries = [*_thresholds(organization, span), *_changes(organization, span)]
    return sorted(entries, key=lambda entry: (entry["at"], entry["limit"], entry["event"]))


def _thresholds(organization: Organization, span: Span) -> list[dict[str, Any]]:
    events = ThresholdEvent.objects.of(organization).filter(reached_at__gte=span.start, reached_at__lt=span.end)
    return [
        _entry(event.reached_at, _limit_name(event), _threshold_text(event), "")
        for event in events.select_related("limit").order_by("reached_at", "id")[:MAX_ENTRIES]
    ]


def _limit_name(event: ThresholdEvent) -> str:
    return f"{event.limit}: {event.value}" if event.value else str(event.limit)


def _threshold_text(event: ThresholdEvent) -> str:
    unit = LimitUnit(event.limit.unit)
    amounts = f"{amount_text(event.spent_usd, unit)} of {amount_text(event.amount_usd, unit)}"
    if event.threshold == 0:
        return f"Soft limit passed: {amounts}"
    reached = "Limit reached" if event.threshold >= PAUSING else f"{event.threshold}% reached"
    return f"{reached}: {amounts}"


def _changes(organization: Organization, span: Span) -> list[dict[str, Any]]:
    entries = AuditEntry.objects.of(organization).filter(action__in=_ACTIONS, at__gte=span.start, at__lt=span.end)
    return [
        _entry(entry.at, entry.subject, _ACTIONS[entry.action] + _details(entry), entry.actor)
        for entry in entries.order_by("id")[:MAX_ENTRIES]
    ]


def _details(entry: AuditEntry) -> str:
    amount = entry.details.get("amount_usd") or entry.details.get("limit_amount_usd")
    return f": {amount}" if amount else ""


def _entry(at: datetime, limit: str, event: str, actor: str) -> dict[str, Any]:
    return {"at": iso(at), "limit": limit, "event": event, "actor": actor}
