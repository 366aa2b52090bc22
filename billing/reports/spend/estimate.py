"""The cost of a call at the current prices of an organization, before or after the call. Nothing is written.

Pricing is shared with the ledger (`billing.ingest.ledger_entries`), so the same usage costs the same in both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from billing.ingest.ledger_entries import to_entry
from billing.ingest.types import UsageEventInput
from billing.ingest.validate import InvalidEventError, normalize
from billing.ledger.types import LedgerEntry
from billing.pricing.price_book import price_book
from billing.pricing.token_counting import count_prompt
from billing.pricing.types import TokenUsage
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
    """Cost in US dollars and the tokens it is for. `tokenizer` is None if the provider counted."""

    cost_usd: Decimal
    tokens: int
    counted: Counted
    tokenizer: str | None = None


class ModelNotPricedError(DomainError):
    """The organization has no price for this model."""

    code = "model_not_priced"


class IncompleteResponseError(DomainError):
    """The completion response lacks a field that the calculation needs."""


def estimate_prompt(*, organization: Organization, model: str, messages: list[Any], now: datetime) -> Estimate:
    """Return the cost of the prompt alone. Raises InvalidError, ModelNotPricedError."""
    count = count_prompt(model, messages)
    entry = _priced(organization, model, UsageEventInput(input_tokens=count.tokens), now)
    counted = Counted.EXACT if count.is_exact else Counted.ESTIMATED
    return Estimate(_cost(entry, model), count.tokens, counted, count.tokenizer)


def cost_of_response(*, organization: Organization, response: Mapping[str, Any], now: datetime) -> Estimate:
    """Return the cost of a completed call from its response: OpenAI chat completions and responses, Anthropic
    messages, Gemini generateContent, and LiteLLM versions of them. Raises IncompleteResponseError, InvalidError,
    ModelNotPricedError."""
    model = _model_of(response)
    event = _usage_of(response, now)
    entry = _priced(organization, model, event, now)
    tokens = TokenUsage.of(entry)
    return Estimate(_cost(entry, model), tokens.prompt_tokens + tokens.output_tokens, Counted.REPORTED)


# --- Reading the response --------------------------------------------------------------------------------------


def _model_of(response: Mapping[str, Any]) -> str:
    key, model = _first(response, _MODEL_KEYS)
    param = f"{_RESPONSE}.{key}"
    if not isinstance(model, str):
        raise InvalidError(f"{param}: must be the name of a model.", param=param)
    if len(model) > MAX_NAME_LENGTH:
        raise InvalidError(f"{param}: at most {MAX_NAME_LENGTH} characters.", param=param)
    return model


def _usage_of(response: Mapping[str, Any], now: datetime) -> UsageEventInput:
    """Return an event with the token counts of the response, validated like intake."""
    key, usage = _first(response, _USAGE_KEYS)
    param = f"{_RESPONSE}.{key}"
    if not isinstance(usage, dict):
        raise InvalidError(f"{param}: must be an object.", param=param)
    event = UsageEventInput(usage=usage)
    try:
        normalize(event, now)
    except InvalidEventError as error:
        raise InvalidError(f"{param}: {error.message}", param=param) from error
    return event


def _first(response: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[str, Any]:
    for key in keys:
        if response.get(key) not in (None, ""):
            return key, response[key]
    named, *others = keys
    param = f"{_RESPONSE}.{named}"
    raise IncompleteResponseError(f"{param} is missing (Gemini: {others[0]}).", param=param)


# --- Pricing ---------------------------------------------------------------------------------------------------


def _priced(organization: Organization, model: str, event: UsageEventInput, now: datetime) -> LedgerEntry:
    """Return the ledger row that the event would become."""
    event.model = model
    return to_entry(event, prices=price_book(organization.pk), now=now)


def _cost(entry: LedgerEntry, model: str) -> Decimal:
    if entry.token_cost_usd is not None:
        return entry.token_cost_usd
    if entry.unpriced_reason == UnpricedReason.NO_UNIT_PRICE:
        message = f"The price of {model} lacks a unit price for some of the tokens."
    else:
        message = f"No price is known for the model {model}. Set one, or name the provider too: provider/model."
    raise ModelNotPricedError(message, param="model")
