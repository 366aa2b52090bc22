"""Conversion of normalized events to ledger entries: identity, price and defaults."""

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from uuid import UUID

from billing.ingest.authorized import AuthorizedCall, fill, flag_mismatches
from billing.ingest.call_identity import take_call_identity
from billing.ingest.types import ParsedEvent, UsageEventInput
from billing.ingest.usage.types import NO_COSTS, FlagCode, UsageReading
from billing.ingest.validate import payload_hash
from billing.ledger.calls import CONDITION_COLUMNS, conditions_of
from billing.ledger.types import EVENT_FIELDS, SUMMARY_TOTALS, LedgerEntry
from billing.models import UsageEvent
from billing.pricing.agreements import agreement_for
from billing.pricing.canonical import CanonicalModel, model_identity, service_name
from billing.pricing.cost_choice import CostChoice, choose_cost
from billing.pricing.kinds import (
    TOKEN_COUNTS,
    Quantities,
    from_counts,
    quantities_as_json,
    text_counts,
)
from billing.pricing.price_book import PriceBook
from billing.pricing.quote import Call, Quote
from billing.types import (
    AGGREGATE_FLAG,
    ESTIMATED_FLAG,
    UNKNOWN_REQUESTS,
    CostBasis,
    CostSource,
    EventKind,
    Status,
    UnpricedReason,
)
from costtrack.money import ZERO, to_storable

DEFAULT_SOURCE = "api"
# The source of cost entries (document 002), so that their ids never collide with those of other events.
COSTS_SOURCE = "costs"

# Reading `.value` of an enumeration member is slow compared with the rest of the work per event.
_MODEL_CALL = EventKind.MODEL_CALL.value
_TOOL_CALL = EventKind.TOOL_CALL.value
_FAILURE = Status.FAILURE.value
_REPORTED = CostSource.REPORTED.value
_COMPUTED_BASIS = CostBasis.COMPUTED.value
# The costs that are not computed from a price.
_REPORTED_BASES = frozenset({CostBasis.PROVIDER, CostBasis.SENDER, CostBasis.GATEWAY})

# Summary totals whose field in the API has another name.
_SUMMARY_FIELDS = {"token_cost_usd": "cost_usd"}

_event_fields = attrgetter(*EVENT_FIELDS)
_counts = attrgetter(*TOKEN_COUNTS)


def to_entry(
    parsed: ParsedEvent,
    *,
    prices: PriceBook,
    now: datetime,
    credential_id: int | None = None,
    environment: str = "",
    authorized: AuthorizedCall | None = None,
) -> LedgerEntry:
    """Return the ledger row for a normalized event, priced at the time it occurred. `authorized` is what its
    authorization was granted for."""
    event = parsed.event
    entry = LedgerEntry(*_event_fields(event))
    entry.source = event.source or DEFAULT_SOURCE
    entry.kind = event.kind or _MODEL_CALL
    entry.occurred_at = event.occurred_at or now
    entry.credential_id, entry.environment = credential_id, environment
    entry.user_ref = event.user_id or ""
    if event.id:
        entry.event_id = event.id
        entry.key = _event_digest(entry.source, event.id)
        entry.payload_hash = payload_hash(event) if parsed.payload_hash is None else parsed.payload_hash
    if parsed.reading is not None:
        _take_reading(entry, event, parsed.reading)
    if authorized is not None:
        fill(entry, authorized)
    _COST_OF[entry.kind](entry, parsed, prices)
    if entry.price_version_id is None:
        name, entry.provider = prices.identify(entry.service or "", entry.model or "", entry.occurred_at)
        _rename_model(entry, name)
    if authorized is not None:
        flag_mismatches(entry, authorized)
    if event.request_id or event.id or parsed.call_ids:
        take_call_identity(entry, parsed)
    return entry


def event_key(source: str, event_id: str) -> UUID:
    """Return the digest that identifies an event within its organization (docs/decisions/016-event-identity.md)."""
    return UUID(_event_digest(source, event_id))


def _event_digest(source: str, event_id: str) -> str:
    """Return the hexadecimal digits of an event's key, which take less time than a UUID."""
    return hashlib.blake2b(f"{source}\0{event_id}".encode(), digest_size=16).hexdigest()


def _take_reading(entry: LedgerEntry, event: UsageEventInput, reading: UsageReading) -> None:
    """Store what the usage object says besides its counts. It gives every count; rare ones are stored only if they are
    not 0 (`costtrack.fields.RareCountField`)."""
    # `PART_COUNTS`; a loop over the names takes twice as long.
    entry.cache_creation_1h_tokens = entry.cache_creation_1h_tokens or None
    entry.reasoning_tokens = entry.reasoning_tokens or None
    entry.audio_input_tokens = entry.audio_input_tokens or None
    entry.audio_output_tokens = entry.audio_output_tokens or None
    entry.other_quantities = event.quantities
    if reading.attributes:
        conditions, entry.service_tier, entry.region = conditions_read(event, reading)
        entry.attributes = conditions or None
    if reading.flags or reading.attributes:
        entry.flags = [*flags_of(reading), *_conflicts(event, reading)] or None
    entry.usage_raw = dict(reading.raw) if reading.raw is not None else None
    if len(reading.calls) > 1:
        entry.calls = list(map(quantities_as_json, reading.calls))
    if reading.costs is not NO_COSTS:
        entry.provider_cost_usd = _amount(reading.costs.provider_usd)
        entry.stated_cost_usd = _amount(reading.costs.sender_usd)
        entry.gateway_cost_usd = _amount(reading.costs.gateway_usd)


def conditions_read(
    sent: UsageEventInput | UsageEvent, reading: UsageReading
) -> tuple[dict[str, str], str | None, str | None]:
    """Return the conditions of a call without a column, its service tier and its region. What was sent beside the usage
    comes before what was read."""
    conditions = dict(reading.attributes)
    tier, region = conditions.pop("service_tier", None), conditions.pop("region", None)
    return conditions, sent.service_tier or tier, sent.region or region


def flags_of(reading: UsageReading) -> list[dict[str, str]]:
    return [{"code": flag.code.value, "detail": flag.detail} for flag in reading.flags]


def _conflicts(event: UsageEventInput, reading: UsageReading) -> list[dict[str, str]]:
    """Return a flag for each condition that was sent with one value and read with another."""
    flags = []
    for name in CONDITION_COLUMNS:
        read, sent = reading.attributes.get(name), getattr(event, name)
        if read is not None and sent is not None and read.lower() != sent.lower():
            flags.append({"code": FlagCode.CONFLICTING_VALUES.value, "detail": f"{name}: {sent}, {read}"})
    return flags


def _amount(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else to_storable(amount)


def _cost_of_model_call(entry: LedgerEntry, parsed: ParsedEvent, prices: PriceBook) -> None:
    """Choose between the known costs: the provider's bill, what the sender states, ours, a gateway's estimate."""
    event = parsed.event
    entry.requests = entry.turns = event.requests or 1
    if event.cost_usd is not None:
        if parsed.is_gateway_cost:
            entry.gateway_cost_usd = event.cost_usd
        else:
            entry.stated_cost_usd = event.cost_usd
    cost = _plain_cost(entry, parsed, prices)
    if cost is not None:
        entry.token_cost_usd = cost
        entry.cost_basis = _COMPUTED_BASIS
        return
    quote = computed_quote(entry, parsed, prices)
    _take_cost(entry, quote, _choose(entry, quote, prices))
    if event.requests is not None:
        detail = f"{event.requests} requests" if event.requests else UNKNOWN_REQUESTS
        entry.flags = [*(entry.flags or ()), {"code": AGGREGATE_FLAG, "detail": detail}]


def _plain_cost(entry: LedgerEntry, parsed: ParsedEvent, prices: PriceBook) -> Decimal | None:
    """Return the cost of the usual call quickly: one request, no other cost, no agreement, and a price with all its
    unit prices. None if it takes more to know. (Flags only matter to the choice between several costs.)"""
    event, reading = parsed.event, parsed.reading
    if not entry.model or event.cost_usd is not None or event.requests is not None or prices.agreements:
        return None
    if reading is not None and (reading.reason is not None or len(reading.calls) != 1 or reading.costs is not NO_COSTS):
        return None
    counts = _counts(event)
    if reading is None and counts.count(None) == len(counts):
        return None
    price = prices.find(entry.service or "", entry.model, entry.occurred_at)
    if price is None:
        return None
    has_conditions = entry.service_tier or entry.region or entry.attributes
    text = None if has_conditions or entry.other_quantities else text_counts(counts)
    cost = price.text_cost(*text, entry.occurred_at) if text is not None else None
    if cost is None:
        quantities: Quantities = from_counts(counts) if reading is None else reading.calls[0]
        options = price.options_of(conditions_of(entry)) if has_conditions else price.options
        cost = price.plain_cost(quantities, options, entry.occurred_at)
    if cost is not None:
        entry.price_version_id = price.price_version_id
        _take_model(entry, price.model)
    return cost


def _take_model(entry: LedgerEntry, model: CanonicalModel) -> None:
    """Store the name by which limits and reports know the model, and what it was priced as if that is another one."""
    _rename_model(entry, model_identity(model.model, entry.occurred_at.astimezone(UTC).date()))
    entry.provider = model.platform
    if (model.provider, model.model) != (entry.service, entry.model):
        entry.canonical_provider, entry.canonical_model = model.provider, model.model


def _rename_model(entry: LedgerEntry, name: str) -> None:
    """Store the name of the model, which does not change when prices change later, and beside it the one as sent."""
    if name and name != entry.model:
        entry.sent_model, entry.model = entry.model or "", name


def computed_quote(entry: LedgerEntry, parsed: ParsedEvent, prices: PriceBook) -> Quote:
    """Return the computed cost, or the reason why it is unknown.

    The usage of a call without any counts is unknown, not zero, so only a price per request can price it. A failed call
    without usage is free.
    """
    reading, counts = parsed.reading, _counts(parsed.event)
    if reading is not None and reading.reason is not None:
        return Quote(reason=UnpricedReason.UNREADABLE_USAGE, unknown=(reading.detail,))
    has_usage = reading is not None or counts.count(None) < len(counts)
    if not has_usage and entry.status == _FAILURE:
        return Quote(total_usd=ZERO, list_total_usd=ZERO)
    requests: tuple[Quantities, ...] = reading.calls if reading is not None else (from_counts(counts),)
    sum_of = 1 if parsed.event.requests is None else parsed.event.requests
    conditions = conditions_of(entry)
    return prices.quote(
        Call(entry.service or "", entry.model or "", entry.occurred_at, requests, conditions, has_usage, sum_of)
    )


def _choose(entry: LedgerEntry, quote: Quote, prices: PriceBook) -> CostChoice:
    platform = service_name(entry.service or "") if quote.model is None else quote.model.platform
    model = entry.model or "" if quote.model is None else quote.model.model
    return choose_cost(
        quote,
        provider_usd=entry.provider_cost_usd,
        sender_usd=entry.stated_cost_usd,
        gateway_usd=entry.gateway_cost_usd,
        is_flagged=bool(entry.flags),
        agreement=agreement_for(prices.agreements, platform, model, entry.occurred_at),
    )


def _take_cost(entry: LedgerEntry, quote: Quote, choice: CostChoice) -> None:
    entry.price_version_id = quote.price_version_id
    if quote.model is not None:
        _take_model(entry, quote.model)
    entry.cost_basis = choice.basis.value
    entry.token_cost_usd = choice.amount_usd
    if choice.list_usd != choice.amount_usd:
        entry.list_cost_usd = choice.list_usd
    if choice.basis in _REPORTED_BASES:
        entry.cost_source = _REPORTED
        entry.computed_cost_usd = quote.total_usd
    if choice.amount_usd is None:
        entry.unpriced = 1
        entry.unpriced_reason = quote.reason.value if quote.reason is not None else ""
    if quote.is_estimate:
        estimated = ", ".join(f"{line.kind} as {line.priced_as}" for line in quote.lines if line.is_estimate)
        entry.flags = [*(entry.flags or ()), {"code": ESTIMATED_FLAG, "detail": estimated}]


def _cost_of_tool_or_compute(entry: LedgerEntry, parsed: ParsedEvent, prices: PriceBook) -> None:
    """The cost of tools and machines is compute cost; without a reported cost they are free."""
    del prices
    event = parsed.event
    entry.tool_calls = int(entry.kind == _TOOL_CALL)
    reported = event.cost_usd if event.cost_usd is not None else event.compute_cost_usd
    entry.token_cost_usd = ZERO
    entry.compute_cost_usd = reported or ZERO
    if reported is not None:
        entry.cost_source = _REPORTED


def _cost_of_summary(entry: LedgerEntry, parsed: ParsedEvent, prices: PriceBook) -> None:
    """Set the reported totals of a session; the ledger replaces them by differences when it stores them."""
    del prices
    event = parsed.event
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
