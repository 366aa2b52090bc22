"""The content of an event's page: the call, for whom it was made, and how its cost was computed."""

import json
from dataclasses import dataclass
from decimal import Decimal

from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.formatting import Detail
from billing.admin.events.event_sections import context_of
from billing.admin.prices.price_hints import Advice, advice_for
from billing.ledger.adjustments import Correction
from billing.ledger.net_cost import AdjustedEvent
from billing.models import PriceVersion, UsageEvent
from billing.pricing.types import PriceLine
from billing.reports.events import Explanation, explain
from billing.types import CorrectionKind, CostSource, EventKind, Status
from costtrack.ids import batch_of
from costtrack.money import ZERO, usd
from organizations.models import APICredential


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the price calculation as texts: quantity x unit price = amount."""

    label: str
    quantity: str
    unit_price: str
    amount: str


@dataclass(frozen=True, slots=True)
class CorrectionLine:
    """An adjustment of the event as texts."""

    url: str
    received: str
    what: str
    who: str
    reason: str
    amount: str


@dataclass(frozen=True, slots=True)
class EventPage:
    cost: str
    """The net cost, or empty while it is not known."""
    because: str
    lines: tuple[Line, ...]
    computed: str
    price_name: str
    price_url: str
    price_details: str
    """The period of the price and its source."""
    reported: str
    difference: str
    badges: SafeString
    compute_cost: str
    recorded: str
    """The cost before corrections; empty if it was not known."""
    exact_cost: str
    """The net cost with all digits."""
    corrections: tuple[CorrectionLine, ...]
    corrected_url: str
    sections: tuple[tuple[str, list[Detail]], ...]
    metadata: str
    advice: Advice | None
    """What to do about an unknown cost."""
    occurred: str


def event_page(event: UsageEvent) -> EventPage:
    why = explain(event)
    price, total = why.price, why.calculation.total_usd
    return EventPage(
        cost=usd(why.cost_now_usd) if why.cost_now_usd is not None else "",
        because=_because(event, why),
        lines=tuple(_line(line) for line in why.calculation.lines),
        computed=formatting.exact(total),
        price_name=_price_name(price) if price is not None else "",
        price_url=formatting.change_url("billing_priceversion", id=price.pk) if price is not None else "",
        price_details=_price_details(price) if price is not None else "",
        reported=formatting.exact(event.token_cost_usd) if _is_reported(event) else "",
        difference=_difference(event, total),
        badges=_badges(why.adjusted_event),
        compute_cost=formatting.exact(event.compute_cost_usd) if event.compute_cost_usd else "",
        recorded=formatting.exact(event.cost_usd),
        exact_cost=formatting.exact(why.cost_now_usd),
        corrections=tuple(_correction(adjustment) for adjustment in why.adjusted_event.adjustments),
        corrected_url=formatting.change_url("billing_usageevent", id=why.corrected.pk)
        if why.corrected is not None
        else "",
        sections=tuple(section for section in _sections(event) if section[1]),
        metadata=json.dumps(event.metadata, indent=2, ensure_ascii=False) if event.metadata else "",
        advice=_advice(event, why),
        occurred=_local(event),
    )


def _advice(event: UsageEvent, why: Explanation) -> Advice | None:
    is_unpriced = why.cost_now_usd is None and event.unpriced_reason
    return advice_for(event, why.without_price) if is_unpriced else None


def _price_name(price: PriceVersion) -> str:
    since = formatting.price_since(price)
    return f"{price} since {since}" if since else str(price)


def _price_details(price: PriceVersion) -> str:
    since, until = formatting.price_since(price), formatting.price_until(price)
    began = f"since {since} UTC" if since else "from the beginning"
    return f"{began}, {f'until {until} UTC' if until else 'no end'} ({price.get_source_display()})"


def _local(event: UsageEvent) -> str:
    """Format when the event occurred in the organization's time zone, truncated to the second."""
    return datetimes.exact(event.occurred_at.replace(microsecond=0), event.organization.calendar)


# The sentence about the last correction, by its kind.
_DONE_LAST = {
    CorrectionKind.VOID: "Voided: excluded from all totals.",
    CorrectionKind.ADJUST: "The cost was adjusted manually.",
    CorrectionKind.REPRICE: "Repriced after a price change.",
}


def _because(event: UsageEvent, why: Explanation) -> str:
    """Return the sentence under the amount."""
    if event.kind == EventKind.ADJUSTMENT.value:
        correction = Correction.of(event)
        by = f", by {correction.actor}" if correction.actor else ""
        gone = "" if why.corrected is not None else " The event itself is no longer stored."
        return f"A correction of another event{by}: {correction.reason}.{gone}"
    if event.kind == EventKind.SESSION_SUMMARY.value:
        return "The difference between the session's summary and its earlier events."
    corrections = why.adjusted_event.corrections
    if corrections and corrections[-1].kind in _DONE_LAST:
        return _DONE_LAST[corrections[-1].kind]
    return _cost_origin(event, why)


def _cost_origin(event: UsageEvent, why: Explanation) -> str:
    if event.token_cost_usd is None:
        reason = event.get_unpriced_reason_display()
        is_priced = why.adjusted_event.adjustments
        return f"Had no cost at first ({reason}). A correction added it." if is_priced else f"{reason}."
    if _is_reported(event):
        return "Reported by the caller."
    if why.calculation.lines:
        return "Computed from the price at the time of the call."
    return "Nothing in this event is charged for."


def _line(line: PriceLine) -> Line:
    return Line(
        formatting.KIND_LABELS[line.kind],
        formatting.count(line.quantity),
        formatting.unit_price(line.kind, line.unit_price_usd),
        formatting.exact(line.amount_usd),
    )


def _badges(adjusted_event: AdjustedEvent) -> SafeString:
    event = adjusted_event.event
    failed = event.status == Status.FAILURE.value
    shown = [
        (event.get_kind_display(), "primary"),
        (event.get_status_display(), "danger" if failed else "success"),
        (event.get_cost_source_display(), "info"),
        *([("Voided", "danger")] if adjusted_event.is_voided else []),
    ]
    return format_html_join(" ", "{}", ((formatting.badge(text, kind),) for text, kind in shown))


def _is_reported(event: UsageEvent) -> bool:
    return event.cost_source == CostSource.REPORTED.value


def _difference(event: UsageEvent, computed: Decimal | None) -> str:
    """Return the difference between the reported and the computed cost."""
    if not _is_reported(event) or event.token_cost_usd is None or computed is None:
        return ""
    difference = event.token_cost_usd - computed
    return formatting.difference(difference) if difference else "none"


def _correction(adjustment: UsageEvent) -> CorrectionLine:
    correction = Correction.of(adjustment)
    amount = (adjustment.token_cost_usd or ZERO) + adjustment.compute_cost_usd
    return CorrectionLine(
        formatting.change_url("billing_usageevent", id=adjustment.pk),
        formatting.instant(correction.at),
        correction.kind.label,
        correction.actor or "costtrack",
        correction.reason,
        formatting.difference(amount),
    )


def _sections(event: UsageEvent) -> tuple[tuple[str, list[Detail]], ...]:
    return (
        ("Call", formatting.without_empty(_call(event))),
        ("Tokens", formatting.without_empty(_tokens(event))),
        ("Part of", formatting.without_empty(context_of(event))),
        ("Identity", formatting.without_empty(_identity(event))),
    )


def _call(event: UsageEvent) -> list[tuple[str, str]]:
    duration = f"{event.duration_ms / 1000:,.2f} s" if event.duration_ms is not None else ""
    return [
        ("Service", event.service),
        ("Model", event.model),
        ("Tool", event.tool),
        ("Capability", event.capability),
        ("Endpoint", event.endpoint),
        ("Cost group", event.cost_group),
        ("Status", f"{event.get_status_display()} {event.status_code or ''}".strip()),
        ("Duration", duration),
    ]


def _tokens(event: UsageEvent) -> list[tuple[str, str]]:
    counts = (
        ("Input (uncached)", event.input_tokens),
        ("Cache read", event.cache_read_tokens),
        ("Cache write", event.cache_creation_tokens),
        ("Cache write, 1 hour", event.cache_creation_1h_tokens),
        ("Output", event.output_tokens),
        ("Reasoning (part of output)", event.reasoning_tokens),
        ("Audio in", event.audio_input_tokens),
        ("Audio out", event.audio_output_tokens),
        ("Tool call", event.tool_use_tokens),
        ("Tool result", event.tool_result_tokens),
    )
    return [(label, formatting.count(number)) for label, number in counts if number]


def _identity(event: UsageEvent) -> list[tuple[str, SafeString | str]]:
    batch_id = batch_of(event.pk)
    batch_url = formatting.change_url("billing_ingestbatch", id=batch_id)
    return [
        ("Caller's id", event.event_id),
        ("Source", event.source),
        ("Request", event.request_id),
        ("Sent with", formatting.sender(event.credential_id, _credential_of(event))),
        ("Occurred", _local(event)),
        ("Occurred (UTC)", formatting.instant(event.occurred_at)),
        ("Received (UTC)", formatting.instant(event.received_at)),
        ("Id in the ledger", str(event.pk)),
        ("Batch", formatting.link(batch_url, batch_id)),
        ("Authorization", _authorization(event)),
    ]


def _authorization(event: UsageEvent) -> SafeString | str:
    """The reservation that the event settled."""
    if event.authorization_id is None:
        return ""
    return formatting.link(
        formatting.change_url("billing_authorization", id=event.authorization_id), event.authorization_id
    )


def _credential_of(event: UsageEvent) -> APICredential | None:
    """Return the credential; None also for an operator's, which members cannot read."""
    if event.credential_id is None:
        return None
    return APICredential.objects.filter(pk=event.credential_id).first()
