"""Conversion of normalized events to ledger entries: identity, price and defaults."""

import hashlib
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from uuid import UUID

import msgspec

from billing.ingest.types import UsageEventInput
from billing.ledger.types import EVENT_FIELDS, SUMMARY_TOTALS, LedgerEntry
from billing.pricing.price_book import PriceBook
from billing.pricing.types import TOKEN_COUNTS, TokenUsage
from billing.types import CostSource, EventKind, Status, UnpricedReason
from costtrack.money import ZERO

DEFAULT_SOURCE = "api"
# The source of cost entries (document 002), so that their ids never collide with those of other events.
COSTS_SOURCE = "costs"

# Reading `.value` of an enumeration member is slow compared with the rest of the work per event.
_MODEL_CALL = EventKind.MODEL_CALL.value
_TOOL_CALL = EventKind.TOOL_CALL.value
_FAILURE = Status.FAILURE.value
_REPORTED = CostSource.REPORTED.value

_encode = msgspec.json.Encoder().encode
# Slower; only needed for metadata, whose keys have no defined order.
_encode_in_order = msgspec.json.Encoder(order="deterministic").encode

# Summary totals whose field in the API has another name.
_SUMMARY_FIELDS = {"token_cost_usd": "cost_usd"}

_event_fields = attrgetter(*EVENT_FIELDS)
_counts = attrgetter(*TOKEN_COUNTS)


def to_entry(
    event: UsageEventInput, *, prices: PriceBook, now: datetime, credential_id: int | None = None
) -> LedgerEntry:
    """Return the ledger row for a normalized event, priced at the time it occurred."""
    entry = LedgerEntry(*_event_fields(event))
    entry.source = event.source or DEFAULT_SOURCE
    entry.kind = event.kind or _MODEL_CALL
    entry.occurred_at = event.occurred_at or now
    entry.credential_id = credential_id
    entry.user_ref = event.user_id or ""
    if event.id:
        entry.event_id = event.id
        entry.key = event_key(entry.source, event.id)
        entry.payload_hash = payload_hash(event)
    _COST_OF[entry.kind](entry, event, prices)
    return entry


def event_key(source: str, event_id: str) -> UUID:
    """Return the digest that identifies an event within its organization (docs/decisions/016-event-identity.md)."""
    digest = hashlib.blake2b(f"{source}\0{event_id}".encode(), digest_size=16).digest()
    return UUID(bytes=digest)


def payload_hash(event: UsageEventInput) -> int:
    """Return a signed 64-bit digest of all fields of the event."""
    encode = _encode if event.metadata is None else _encode_in_order
    digest = hashlib.blake2b(encode(event), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _cost_of_model_call(entry: LedgerEntry, event: UsageEventInput, prices: PriceBook) -> None:
    """Use the reported cost if there is one and store the computed cost next to it; else use the computed cost."""
    entry.requests = entry.turns = 1
    computed, reason = _compute(entry, event, prices)
    if event.cost_usd is not None:
        entry.cost_source = _REPORTED
        entry.token_cost_usd = event.cost_usd
        entry.computed_cost_usd = computed
    else:
        entry.token_cost_usd = computed
        entry.unpriced_reason = reason
        entry.unpriced = int(computed is None)


def _compute(entry: LedgerEntry, event: UsageEventInput, prices: PriceBook) -> tuple[Decimal | None, str]:
    """Return the computed cost, or None and the reason.

    The usage of a call without any token counts is unknown, not zero, so only a price per request can price it.
    A failed call without token counts is free.
    """
    counts = _counts(event)
    has_usage = counts.count(None) < len(counts)
    if not has_usage and entry.status == _FAILURE:
        return ZERO, ""
    if not entry.model:
        return None, UnpricedReason.NO_MODEL.value
    price = prices.find(entry.service or "", entry.model, entry.occurred_at)
    if not has_usage and (price is None or not price.charges_requests):
        return None, UnpricedReason.NO_USAGE.value
    if price is None:
        return None, UnpricedReason.NO_PRICE.value
    entry.price_version_id = price.price_version_id
    cost = price.cost(TokenUsage(*[count or 0 for count in counts]))
    return cost, "" if cost is not None else UnpricedReason.NO_UNIT_PRICE.value


def _cost_of_tool_or_compute(entry: LedgerEntry, event: UsageEventInput, prices: PriceBook) -> None:
    """The cost of tools and machines is compute cost; without a reported cost they are free."""
    del prices
    entry.tool_calls = int(entry.kind == _TOOL_CALL)
    reported = event.cost_usd if event.cost_usd is not None else event.compute_cost_usd
    entry.token_cost_usd = ZERO
    entry.compute_cost_usd = reported or ZERO
    if reported is not None:
        entry.cost_source = _REPORTED


def _cost_of_summary(entry: LedgerEntry, event: UsageEventInput, prices: PriceBook) -> None:
    """Set the reported totals of a session; the ledger replaces them by differences when it stores them."""
    del prices
    entry.turns, entry.tool_calls = event.turns or 0, event.tool_calls or 0
    entry.token_cost_usd = event.cost_usd if event.cost_usd is not None else ZERO
    entry.cost_source = _REPORTED
    named = {total for total in SUMMARY_TOTALS if getattr(event, _SUMMARY_FIELDS.get(total, total)) is not None}
    entry.named_counts = frozenset(named)


_COST_OF = {
    _MODEL_CALL: _cost_of_model_call,
    _TOOL_CALL: _cost_of_tool_or_compute,
    EventKind.COMPUTE.value: _cost_of_tool_or_compute,
    EventKind.SESSION_SUMMARY.value: _cost_of_summary,
}
