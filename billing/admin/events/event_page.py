"""The content of an event's page: the call, what it belongs to, and how its cost was computed."""

import json
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import LocalTimes, local_time
from billing.admin.components.table_files import TableFiles
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import change_url, event_url
from billing.admin.prices.price_hints import Advice, advice_for
from billing.ledger.adjustments import Correction
from billing.ledger.calls import is_flagged
from billing.ledger.net_cost import AdjustedEvent
from billing.models import PriceVersion, UsageEvent
from billing.pricing.conditions import AppliedCondition
from billing.pricing.kinds import quantities_from_json
from billing.pricing.quote import QuoteLine
from billing.reports.events import Explanation, explain
from billing.reports.known_costs import KnownCost, known_costs, why_cost_counts
from billing.types import CorrectionKind, CostBasis, CostSource, EventKind, Status
from costtrack.calendar import Preset
from costtrack.clock import utc_now
from costtrack.file_columns import Kind, attributes, computed
from costtrack.ids import batch_of
from costtrack.money import ZERO, usd
from costtrack.organization_paths import organization_url
from organizations.models import APICredential

_SHOWN_AT_FIRST = timedelta(days=29)  # the default period of the linked pages
_NOT_KNOWN = "Not known"


@dataclass(frozen=True, slots=True)
class EventCost:
    """What an event costs and why. `advice` is what to do about an unknown cost."""

    cost: str
    because: str
    badges: SafeString
    advice: Advice | None
    calculation: Table[QuoteLine]
    corrections: Table[UsageEvent]
    corrected_url: str


def event_cost(event: UsageEvent, files: TableFiles) -> EventCost:
    why = explain(event)
    return EventCost(
        cost=usd(why.cost_now_usd) if why.cost_now_usd is not None else "Not known yet",
        because=_because(event, why),
        badges=_badges(why.adjusted_event),
        advice=_advice(event, why),
        calculation=_calculation(event, why, files),
        corrections=_corrections(event, why, files),
        corrected_url=event_url(why.corrected.pk) if why.corrected is not None else "",
    )


def event_cards(event: UsageEvent, files: TableFiles) -> list[Card]:
    """Return the sections about the call itself."""
    cards = []
    known = known_costs(event)
    if len(known) > 1:
        file = files.file("known-costs", _KNOWN_COSTS_FILE, lambda: known)
        cards.append(Card("Known costs", table=Table("Known costs", _KNOWN_COSTS, known, file=file)))
    if event.flags:
        details = [(_flag_label(flag["code"]), flag["detail"]) for flag in event.flags]
        cards.append(Card("Flags", text="Why the amount needs a review.", details=details))
    sections = (("Call", _call), ("Tokens", _tokens), ("Part of", _context), ("Identity", _identity))
    cards += [Card(title, details=without_empty(details(event)), is_half=True) for title, details in sections]
    if event.usage_raw:
        cards.append(Card("Usage as sent", code=json.dumps(event.usage_raw, indent=2, ensure_ascii=False)))
    if event.metadata:
        cards.append(Card("Metadata", code=json.dumps(event.metadata, indent=2, ensure_ascii=False)))
    return [card for card in cards if card.details or card.code or card.table]


_KNOWN_COSTS_FILE = (
    *attributes(Kind.TEXT, "basis"),
    *attributes(Kind.AMOUNT, "amount_usd"),
    *attributes(Kind.BOOLEAN, "counts"),
)
_KNOWN_COSTS = (
    Column[KnownCost]("Origin", lambda known: known.basis.label),
    Column[KnownCost]("Amount", lambda known: formatting.exact(known.amount_usd), is_number=True),
    Column[KnownCost]("", lambda known: formatting.badge("Counts", "success") if known.counts else ""),
)


def _flag_label(code: str) -> str:
    return formatting.FLAG_LABELS.get(code, code.replace("_", " ").capitalize())


def _charged_for(line: QuoteLine) -> str:
    label = formatting.KIND_LABELS[line.kind]
    if not line.priced_as:
        return label
    return f"{label} ({'estimated: ' if line.is_estimate else ''}as {formatting.KIND_LABELS[line.priced_as].lower()})"


_CALCULATION_FILE = (
    *attributes(Kind.TEXT, "kind", "priced_as"),
    *attributes(Kind.BOOLEAN, "is_estimate"),
    *computed(Kind.AMOUNT, quantity=lambda line: Decimal(line.quantity)),
    *attributes(Kind.AMOUNT, "unit_price_usd", "amount_usd", "list_unit_price_usd", "list_amount_usd"),
)
_CALCULATION = (
    Column[QuoteLine]("Charged for", _charged_for),
    Column[QuoteLine]("Quantity", lambda line: formatting.quantity(line.quantity), is_number=True),
    Column[QuoteLine]("Unit price", lambda line: formatting.unit_price(line.kind, line.unit_price_usd), is_number=True),
    Column[QuoteLine]("Amount", lambda line: formatting.exact(line.amount_usd), is_number=True),
)


def _condition(condition: AppliedCondition) -> str:
    """Return what a condition of the call changed, for example `service tier batch: x 0.5 (source)`."""
    effect = "its own unit prices" if condition.factor is None else f"x {float(condition.factor):g}"
    source = f" ({condition.source})" if condition.source else ""
    return f"{condition.attribute.replace('_', ' ')} {condition.value}: {effect}{source}"


def _calculation(event: UsageEvent, why: Explanation, files: TableFiles) -> Table[QuoteLine]:
    """Return the lines quantity x unit price = amount, with the sum and what is added to it."""
    price, total = why.price, why.quote.total_usd
    file = files.file("calculation", _CALCULATION_FILE, lambda: why.quote.lines)
    if price is None:
        return Table("How the cost is computed", _CALCULATION, why.quote.lines, file=file)
    link = formatting.link(change_url("billing_priceversion", price.pk), _price_name(price))
    foot: list[tuple[object, str]] = [(format_html("At the price of {}", link), formatting.exact(total))]
    if _is_reported(event):
        foot.append(("Reported by the caller", formatting.exact(event.token_cost_usd)))
        foot.append(("Difference", _difference(event, total)))
    if event.compute_cost_usd:
        foot.append(("Tools and compute", formatting.exact(event.compute_cost_usd)))
        if why.cost_now_usd is not None and not why.adjusted_event.adjustments:
            foot.append(("Costs", formatting.exact(why.cost_now_usd)))
    if event.list_cost_usd is not None:
        foot.append(("Without the agreement", formatting.exact(event.list_cost_usd)))
    note = f"The call was made at {_local(event)}. {_price_period(price)}."
    if why.quote.conditions:
        note += f" Conditions: {'; '.join(map(_condition, why.quote.conditions))}."
    if why.quote.tier_above is not None:
        note += f" The tier above {formatting.count(why.quote.tier_above)} input tokens applies."
    return Table("How the cost is computed", _CALCULATION, why.quote.lines, foot=foot, note=note, file=file)


_CORRECTIONS = (
    Column[UsageEvent](
        "Corrected",
        lambda row: formatting.two_lines(
            formatting.link(event_url(row.pk), local_time(Correction.of(row).at)),
            Correction.of(row).actor or "costtrack",
        ),
    ),
    Column[UsageEvent](
        "Correction", lambda row: formatting.two_lines(Correction.of(row).kind.label, Correction.of(row).reason)
    ),
    Column[UsageEvent](
        "Amount",
        lambda row: formatting.difference((row.token_cost_usd or ZERO) + row.compute_cost_usd),
        is_number=True,
    ),
)


_CORRECTIONS_FILE = (
    *attributes(Kind.TEXT, "id"),
    *computed(Kind.TIME, corrected_at=lambda row: Correction.of(row).at),
    *computed(
        Kind.TEXT,
        actor=lambda row: Correction.of(row).actor,
        kind=lambda row: Correction.of(row).kind.value,
        reason=lambda row: Correction.of(row).reason,
    ),
    *computed(Kind.AMOUNT, amount_usd=lambda row: (row.token_cost_usd or ZERO) + row.compute_cost_usd),
)


def _corrections(event: UsageEvent, why: Explanation, files: TableFiles) -> Table[UsageEvent]:
    foot = (
        ("Originally recorded", formatting.exact(event.cost_usd) or _NOT_KNOWN),
        ("With corrections", formatting.exact(why.cost_now_usd) or _NOT_KNOWN),
    )
    rows = why.adjusted_event.adjustments
    file = files.file("corrections", _CORRECTIONS_FILE, lambda: rows)
    return Table("Corrections", _CORRECTIONS, rows, foot=foot, file=file)


def _advice(event: UsageEvent, why: Explanation) -> Advice | None:
    is_unpriced = why.cost_now_usd is None and event.unpriced_reason
    return advice_for(event, why.quote.unknown) if is_unpriced else None


def _price_name(price: PriceVersion) -> str:
    since = formatting.price_since(price)
    return f"{price} since {since}" if since else str(price)


def _price_period(price: PriceVersion) -> str:
    since, until = formatting.price_since(price), formatting.price_until(price)
    dates = [f"since {since}" if since else "", f"until {until}" if until else "with no end date"]
    applies = f"applies {', '.join(filter(None, dates))}" if since or until else "has no start or end date"
    return f"The price {applies} ({price.get_source_display()})"


def _local(event: UsageEvent) -> str:
    """Format when the event occurred in the organization's time zone, to the second."""
    return LocalTimes.of(event.organization).recorded(event.occurred_at)


# The sentence about the last correction, by its kind.
_DONE_LAST = {
    CorrectionKind.VOID: "Voided: excluded from all totals.",
    CorrectionKind.ADJUST: "The cost was adjusted manually.",
    CorrectionKind.REPRICE: "Repriced after a price change.",
    CorrectionKind.REREAD: "The usage was read again after an upgrade.",
    CorrectionKind.MERGED: "Another source reported the same call in more detail.",
}


def _because(event: UsageEvent, why: Explanation) -> str:
    """Return the sentence under the amount."""
    if event.kind == EventKind.ADJUSTMENT.value:
        correction = Correction.of(event)
        by = f", by {correction.actor}" if correction.actor else ""
        gone = "" if why.corrected is not None else " The event itself is no longer stored."
        return f"A correction of another event{by}: {correction.reason}.{gone}"
    if event.kind == EventKind.CREDIT.value:
        return f"Part of a provider's credit: {event.adjustment_reason}."
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
        return f"The cost was unknown at first ({reason}) and was added by a correction." if is_priced else f"{reason}."
    if event.cost_basis in (CostBasis.PROVIDER, CostBasis.GATEWAY) or event.flags:
        because = why_cost_counts(event, why.quote)
        return f"{because[:1].upper()}{because[1:]}."
    if _is_reported(event):
        return "Reported by the caller."
    if why.quote.lines:
        return "Computed from the price at the time of the call."
    return "This event has no billable usage."


def _badges(adjusted_event: AdjustedEvent) -> SafeString:
    event = adjusted_event.event
    failed = event.status == Status.FAILURE.value
    shown = [
        (event.get_kind_display(), "primary"),
        (event.get_status_display(), "danger" if failed else "success"),
        ("No price yet", "warning") if event.cost_usd is None else (event.get_cost_source_display(), "info"),
        *([("Flagged", "warning")] if is_flagged(event) else []),
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


def _call(event: UsageEvent) -> list[tuple[str, str]]:
    duration = f"{event.duration_ms / 1000:,.2f} s" if event.duration_ms is not None else ""
    return [
        ("Service", event.service),
        ("Model", event.model),
        ("Model as sent", event.sent_model),
        ("Priced as", "/".join(filter(None, (event.canonical_provider, event.canonical_model)))),
        ("Service tier", event.service_tier),
        ("Region", event.region),
        *((name.replace("_", " ").capitalize(), value) for name, value in (event.attributes or {}).items()),
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
    others = quantities_from_json(event.other_quantities or {})
    return [
        *((label, formatting.count(number)) for label, number in counts if number),
        *((formatting.KIND_LABELS[kind], formatting.quantity(value)) for kind, value in others.items()),
    ]


def _identity(event: UsageEvent) -> list[tuple[str, SafeString | str]]:
    batch_id = batch_of(event.pk)
    batch_url = change_url("billing_ingestbatch", batch_id)
    return [
        ("Caller's id", event.event_id),
        ("Source", event.source),
        ("Request", event.request_id),
        ("Sent with", formatting.sender(event.credential_id, _credential_of(event))),
        ("Occurred", local_time(event.occurred_at)),
        ("Received", local_time(event.received_at)),
        ("Id in the ledger", str(event.pk)),
        ("Batch", formatting.link(batch_url, batch_id)),
        ("Authorization", _authorization(event)),
    ]


def _authorization(event: UsageEvent) -> SafeString | str:
    """The reservation that the event settled."""
    if event.authorization_id is None:
        return ""
    return formatting.link(change_url("billing_authorization", event.authorization_id), event.authorization_id)


def _credential_of(event: UsageEvent) -> APICredential | None:
    """Return the credential; None also for an operator's, which members cannot read."""
    if event.credential_id is None:
        return None
    return APICredential.objects.filter(pk=event.credential_id).first()


def _context(event: UsageEvent) -> list[tuple[str, SafeString | str]]:
    """Return what the event belongs to (run, session, user, tags, ...), linked to the pages about it."""
    slug = event.organization.slug
    # An execution only has a page if it has sessions.
    execution = event.execution_id if event.session_id else ""
    return [
        ("Organization", event.organization.name),
        ("Run", _linked(slug, "run", event.run_id)),
        ("Workflow", event.workflow_id),
        ("Execution", _linked(slug, "execution", execution) or event.execution_id),
        ("Phase", event.phase_id),
        ("Workspace", event.workspace_id),
        ("Session", _linked(slug, "session", event.session_id)),
        ("Group", " ".join(filter(None, (event.group_name, event.group_id and f"({event.group_id})")))),
        ("Agent", " ".join(filter(None, (event.agent_name, event.agent_id and f"({event.agent_id})")))),
        ("User", _user(event)),
        ("End user", event.end_user),
        ("Tags", _tags(event)),
    ]


def _linked(slug: str, view: str, key: str) -> SafeString | str:
    return formatting.link(organization_url(slug, view, key), key) if key else ""


def _user(event: UsageEvent) -> SafeString | str:
    """Link to the calls of the same user."""
    if not event.user_ref:
        return ""
    day = event.organization.calendar.date_of(event.occurred_at)
    query = {"user_id": event.user_ref, **_period(event, day)}
    url = organization_url(event.organization.slug, "request_log")
    return formatting.link(f"{url}?{urlencode(query)}", event.user_ref)


def _tags(event: UsageEvent) -> SafeString:
    """Link to the explorer with each tag."""
    url = organization_url(event.organization.slug, "explore")
    period = _period(event, event.organization.calendar.date_of(event.occurred_at)) or {"range": Preset.DAYS_30.value}
    links = (formatting.link(f"{url}?{urlencode({'tag': tag, **period})}", tag) for tag in event.tags)
    return format_html_join(", ", "{}", ((link,) for link in links))


def _period(event: UsageEvent, day: date) -> dict[str, str]:
    """Return the period parameters of a link: the event's day, or nothing if the default period includes it."""
    if utc_now() - event.occurred_at < _SHOWN_AT_FIRST:
        return {}
    return {"start_date": f"{day}", "end_date": f"{day}"}
