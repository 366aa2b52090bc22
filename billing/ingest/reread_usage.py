"""Reading of stored usage objects again, after an upgrade of the reader: corrections by adjustments.

Flagged and unreadable usage is kept on its event (`usage_raw`). If it is read in another way now, an adjustment has the
differences of counts and cost, and the quantities as they were read. These are left alone: events that a user has
corrected, calls of sessions with a summary, and objects that were too large to be kept. A second pass changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.ingest.ledger_entries import conditions_read, flags_of
from billing.ingest.usage.types import FlagCode, UsageReading
from billing.ingest.usage.usage_reader import read_usage
from billing.ledger.adjustments import adjustment_of, note
from billing.ledger.calls import REREAD
from billing.ledger.corrections import append_adjustments
from billing.ledger.locks import lock_event_corrections
from billing.ledger.net_cost import AdjustedEvent, load_adjusted_event
from billing.ledger.price_unpriced import computed_columns
from billing.ledger.types import LedgerEntry
from billing.models import Session, UnpricedEvent, UsageEvent
from billing.pricing.cost_choice import choose_cost
from billing.pricing.kinds import TOKEN_COUNTS, quantities_as_json, to_columns
from billing.pricing.price_book import PriceBook, price_book
from billing.pricing.quote import Call
from billing.types import CorrectionKind, EventKind
from costtrack.money import MAX_AMOUNT_USD
from costtrack.tenancy import tenant_scope
from organizations.models import Organization

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Reread:
    """An event whose usage is read in another way now, with its cost before and after (None: unknown)."""

    event: UsageEvent
    old_usd: Decimal | None
    new_usd: Decimal | None


def reread_usage(*, organization: Organization, dry_run: bool, now: datetime) -> Iterator[Reread]:
    """Read the kept usage objects again and yield the events that change. Each chunk is one transaction."""
    last = UUID(int=0)
    while True:
        with tenant_scope(organization.pk):
            events = UsageEvent.objects.of(organization).filter(
                id__gt=last, kind=EventKind.MODEL_CALL.value, usage_raw__isnull=False
            )
            chunk = list(events.order_by("id")[:_CHUNK])
            changes = list(_changes(organization, chunk, dry_run=dry_run, now=now))
        yield from changes
        if len(chunk) < _CHUNK:
            return
        last = chunk[-1].pk


def _changes(organization: Organization, events: list[UsageEvent], *, dry_run: bool, now: datetime) -> Iterator[Reread]:
    prices = price_book(organization.pk)
    closed = _closed_sessions(organization, events)
    for event in events:
        if event.session_id in closed or _has_flag(event, FlagCode.RAW_TRUNCATED):
            continue
        reading = read_usage(event.usage_raw, service=event.service, model=event.model_as_sent, source=event.source)
        if reading.reason is not None:
            continue
        if not dry_run:
            lock_event_corrections(organization.pk, [event.pk])
        adjusted_event = load_adjusted_event(event)
        entry = None if adjusted_event.has_manual_correction else _adjustment(adjusted_event, reading, prices)
        if entry is None:
            continue
        old = adjusted_event.cost_usd
        is_known = adjusted_event.count("unpriced") + entry.unpriced <= 0
        new = adjusted_event.known_cost_usd + entry.known_cost_usd if is_known else None
        if not dry_run:
            append_adjustments(organization, [entry], now, after=adjusted_event.adjustments)
            if is_known:
                UnpricedEvent.objects.of(organization).filter(event_id=event.pk).delete()
        yield Reread(event, old, new)


def _adjustment(adjusted_event: AdjustedEvent, reading: UsageReading, prices: PriceBook) -> LedgerEntry | None:
    """Return the adjustment with the differences; None if nothing changes."""
    event = adjusted_event.event
    conditions, service_tier, region = conditions_read(event, reading)
    attributes = {**conditions, "service_tier": service_tier or "", "region": region or ""}
    call = Call(event.service, event.model_as_sent, event.occurred_at, reading.calls, attributes)
    quote = prices.quote(call)
    choice = choose_cost(
        quote,
        provider_usd=reading.costs.provider_usd,
        sender_usd=event.stated_cost_usd,
        gateway_usd=event.gateway_cost_usd,
        is_flagged=bool(reading.flags),
    )
    cost = choice.amount_usd
    if cost is None or cost > MAX_AMOUNT_USD:
        return None
    columns, others = to_columns(reading.quantities)
    counts = {name: columns[name] - adjusted_event.count(name) for name in TOKEN_COUNTS}
    difference = cost - adjusted_event.amount("token_cost_usd")
    unpriced = -max(adjusted_event.count("unpriced"), 0)
    if not any(counts.values()) and not difference and not unpriced:
        return None
    changes: dict[str, Any] = {
        **counts,
        **computed_columns(quote),
        "cost_basis": choice.basis.value,
        "token_cost_usd": difference,
        "unpriced": unpriced,
        "other_quantities": quantities_as_json(others) or None,
        "calls": list(map(quantities_as_json, reading.calls)),
        "service_tier": service_tier,
        "region": region,
        "attributes": conditions or None,
        "flags": flags_of(reading) or None,
    }
    metadata = note(CorrectionKind.REREAD, actor="", reason=REREAD)
    return adjustment_of(event, reason=REREAD, attributed=adjusted_event.attributed, metadata=metadata, **changes)


def _has_flag(event: UsageEvent, code: FlagCode) -> bool:
    return any(flag["code"] == code for flag in event.flags or ())


def _closed_sessions(organization: Organization, events: list[UsageEvent]) -> frozenset[str]:
    named = {event.session_id for event in events} - {""}
    closed = Session.live().objects.of(organization).filter(session_id__in=named, summaries__gt=0)
    return frozenset(closed.values_list("session_id", flat=True)) if named else frozenset()
