"""The cost of a call at the current prices of an organization, before or after the call. Nothing is written.

Pricing is shared with the ledger (`billing.ingest.ledger_entries`), so the same usage costs the same in both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from billing.ingest.ledger_entries import computed_quote, to_entry
from billing.ingest.types import ParsedEvent, UsageEventInput
from billing.ingest.usage.types import StatedCosts, UnreadableReason, UsageReading
from billing.ingest.usage.usage_reader import read_usage
from billing.ingest.validate import take_reading
from billing.ledger.types import LedgerEntry
from billing.pricing.kinds import output_tokens, prompt_tokens
from billing.pricing.price_book import price_book
from billing.pricing.quote import Quote
from billing.pricing.token_counting import count_prompt
from billing.reports.known_costs import KnownCost, known_costs, why_cost_counts
from billing.types import UnpricedReason
from costtrack.errors import DomainError, InvalidError
from organizations.models import Organization

MAX_NAME_LENGTH = 255

_RESPONSE = "completion_response"
# OpenAI, Anthropic and LiteLLM; Gemini; Gemini as its Python client writes it.
_MODEL_KEYS = ("model", "modelVersion", "model_version")
_USAGE_KEYS = ("usage", "usageMetadata", "usage_metadata")


class Counted(StrEnum):
    """How the tokens were counted."""

    EXACT = "exact"
    ESTIMATED = "estimated"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cost in US dollars and the tokens it is for. `tokenizer` is None if the provider counted. `quote` explains the
    computed cost, `flags` say what was not read with certainty. `known` are all costs, `basis` is the one that counts,
    `why` the reason, and `list_cost_usd` is the cost without the organization's agreement."""

    cost_usd: Decimal
    tokens: int
    counted: Counted
    tokenizer: str | None = None
    quote: Quote = field(default_factory=Quote)
    flags: Sequence[Mapping[str, str]] = ()
    basis: str = ""
    why: str = ""
    list_cost_usd: Decimal | None = None
    known: Sequence[KnownCost] = ()


@dataclass(frozen=True, slots=True)
class Conditions:
    """The caller's information about a call in addition to its model: who bills it, and what changes the price."""

    provider: str | None = None
    service_tier: str | None = None
    region: str | None = None


class ModelNotPricedError(DomainError):
    """The organization has no price for this model."""

    code = "model_not_priced"


class IncompleteResponseError(DomainError):
    """The completion response lacks a field that the calculation needs."""


def estimate_prompt(
    *, organization: Organization, model: str, messages: list[Any], conditions: Conditions, now: datetime
) -> Estimate:
    """Return the cost of the prompt alone. Raises InvalidError, ModelNotPricedError."""
    count = count_prompt(model, messages)
    parsed = ParsedEvent(0, _event(model, conditions, input_tokens=count.tokens))
    counted = Counted.EXACT if count.is_exact else Counted.ESTIMATED
    return _estimate(organization, parsed, now, count.tokens, counted, count.tokenizer)


def cost_of_response(
    *,
    organization: Organization,
    response: Mapping[str, Any],
    conditions: Conditions,
    now: datetime,
) -> Estimate:
    """Return the cost of a completed call from its response, in any shape that the intake reads. Raises
    IncompleteResponseError, InvalidError, ModelNotPricedError."""
    model = _model_of(response)
    reading = _reading_of(response, model, conditions)
    event = _event(model, conditions)
    take_reading(event, reading)
    tokens = prompt_tokens(reading.quantities) + output_tokens(reading.quantities)
    return _estimate(organization, ParsedEvent(0, event, reading), now, tokens, Counted.REPORTED)


# --- Reading the response --------------------------------------------------------------------------------------


def _model_of(response: Mapping[str, Any]) -> str:
    key, model = _first(response, _MODEL_KEYS)
    param = f"{_RESPONSE}.{key}"
    if not isinstance(model, str):
        raise InvalidError(f"{param}: must be the name of a model.", param=param)
    if len(model) > MAX_NAME_LENGTH:
        raise InvalidError(f"{param}: at most {MAX_NAME_LENGTH} characters.", param=param)
    return model


def _reading_of(response: Mapping[str, Any], model: str, conditions: Conditions) -> UsageReading:
    """Read the usage in the response as the intake does. Some responses have it at the top."""
    service = conditions.provider or ""
    key = next((key for key in _USAGE_KEYS if response.get(key) not in (None, "")), None)
    if key is None:
        reading = read_usage(response, service=service, model=model)
        if reading.reason is UnreadableReason.NO_COUNTS:
            _first(response, _USAGE_KEYS)
    elif not isinstance(response[key], dict):
        raise InvalidError(f"{_RESPONSE}.{key}: must be an object.", param=f"{_RESPONSE}.{key}")
    else:
        beside = {name: value for name, value in response.items() if name != key}
        reading = read_usage(response[key], service=service, model=model, beside=beside)
    if reading.reason is not None and reading.costs == StatedCosts():
        param = f"{_RESPONSE}.{key}" if key is not None else _RESPONSE
        raise InvalidError(f"{param}: usage cannot be read: {reading.detail}", param=param)
    return reading


def _first(response: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[str, Any]:
    for key in keys:
        if response.get(key) not in (None, ""):
            return key, response[key]
    named, *others = keys
    param = f"{_RESPONSE}.{named}"
    raise IncompleteResponseError(f"{param} is missing (Gemini: {others[0]}).", param=param)


# --- Pricing ---------------------------------------------------------------------------------------------------


def _event(model: str, conditions: Conditions, input_tokens: int | None = None) -> UsageEventInput:
    return UsageEventInput(
        model=model,
        service=conditions.provider,
        service_tier=conditions.service_tier,
        region=conditions.region,
        input_tokens=input_tokens,
    )


def _estimate(
    organization: Organization,
    parsed: ParsedEvent,
    now: datetime,
    tokens: int,
    counted: Counted,
    tokenizer: str | None = None,
) -> Estimate:
    """Price the call as the ledger would. Raises ModelNotPricedError."""
    prices = price_book(organization.pk)
    entry = to_entry(parsed, prices=prices, now=now)
    quote = computed_quote(entry, parsed, prices)
    if entry.token_cost_usd is None:
        raise ModelNotPricedError(_why_not(entry, quote), param="model")
    list_cost_usd = entry.token_cost_usd if entry.list_cost_usd is None else entry.list_cost_usd
    return Estimate(
        entry.token_cost_usd,
        tokens,
        counted,
        tokenizer,
        quote,
        entry.flags or (),
        entry.cost_basis,
        why_cost_counts(entry, quote),
        list_cost_usd,
        known_costs(entry),
    )


def _why_not(entry: LedgerEntry, quote: Quote) -> str:
    match entry.unpriced_reason:
        case UnpricedReason.NO_UNIT_PRICE:
            return f"The price of {entry.model} lacks a unit price for some of the tokens: {', '.join(quote.unknown)}."
        case UnpricedReason.NO_CONDITION_PRICE:
            return f"There is no price of {entry.model} for the {', '.join(quote.unknown)} of the call."
        case _:
            return f"No price is known for the model {entry.model}. Set one, or name the provider too: provider/model."
