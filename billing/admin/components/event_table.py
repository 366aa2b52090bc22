"""Table rows of calls for the request log and a run's page. Each row links to the event's page."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.urls import run_url
from billing.models import UsageEvent
from billing.reports.usage.calls import Call
from billing.types import Status
from costtrack.calendar import Calendar
from costtrack.money import usd


@dataclass(frozen=True, slots=True)
class EventRow:
    url: str
    when: SafeString
    called: str
    service: str
    capability: str
    endpoint: str
    status: SafeString
    tokens_in: str
    tokens_out: str
    cost: SafeString | str
    credential: str
    run_id: str
    run_url: str


def row_of_call(call: Call, *, calendar: Calendar, now: datetime) -> EventRow:
    return EventRow(
        url=formatting.change_url("billing_usageevent", id=call.id),
        when=_when(call.occurred_at, calendar, now),
        called=call.model or "No model",
        service=call.service,
        capability=call.capability,
        endpoint=call.endpoint,
        status=_status(call.status, call.status_code, is_voided=call.is_voided),
        tokens_in=formatting.count(call.prompt_tokens),
        tokens_out=formatting.count(call.completion_tokens),
        cost=_cost(call.cost_usd),
        credential=call.credential_name,
        run_id=call.run_id,
        run_url=run_url(call.run_id) if call.run_id else "",
    )


def row_of_event(event: UsageEvent, *, calendar: Calendar, now: datetime) -> EventRow:
    """Return the row of an event as it was recorded, without its corrections."""
    return EventRow(
        url=formatting.change_url("billing_usageevent", id=event.pk),
        when=_when(event.occurred_at, calendar, now),
        called=event.model or event.tool or event.get_kind_display(),
        service=event.service,
        capability=event.get_kind_display(),
        endpoint=event.capability,
        status=_status(event.status, event.status_code),
        tokens_in=formatting.count(event.input_tokens + event.cache_read_tokens + event.cache_creation_tokens),
        tokens_out=formatting.count(event.output_tokens),
        cost=_cost(event.cost_usd),
        credential="",
        run_id=event.run_id,
        run_url=run_url(event.run_id),
    )


def _when(instant: datetime, calendar: Calendar, now: datetime) -> SafeString:
    """Truncate to the second."""
    return datetimes.two_lines(instant.replace(microsecond=0), calendar=calendar, now=now)


def _status(status: str, code: int | None, *, is_voided: bool = False) -> SafeString:
    failed = status == Status.FAILURE.value
    text = f"{Status(status).label} {code or ''}".strip()
    shown = formatting.badge(text, "danger" if failed else "success")
    if not is_voided:
        return shown
    return format_html("{} {}", shown, formatting.badge("Voided", "warning", "Excluded from all totals"))


def _cost(cost_usd: Decimal | None) -> SafeString | str:
    return (
        usd(cost_usd) if cost_usd is not None else formatting.badge("Unpriced", "warning", "The cost is not known yet")
    )
