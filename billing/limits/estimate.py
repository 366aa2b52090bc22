"""Compute the amount to reserve for a call: its maximum cost, as far as it is known before the call.

All input counts at the price of uncached tokens, and output at `max_tokens`. At some providers cache writes cost more
than uncached input; the authorization's event has the actual cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

from billing.limits.cache import limit_set
from billing.limits.types import Dimensions, Rule
from billing.pricing.price_book import cached_price_book, price_book
from billing.pricing.quote import Call
from billing.pricing.token_counting import count_prompt
from billing.types import LimitUnit, UnpricedReason
from costtrack.errors import InvalidError, field_error
from costtrack.money import DECIMALS, MAX_AMOUNT_USD, ZERO
from organizations.models import Organization

_TOKENS_PER_UNIT = 1_000_000
_QUANTUM = Decimal(1).scaleb(-DECIMALS)
_PROBE = {"input": _TOKENS_PER_UNIT, "output": _TOKENS_PER_UNIT}
"""A call that costs nothing only if the model is free."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The caller's estimate: an amount in US dollars, tokens (counted, or as messages to count), or both."""

    usd: Decimal | None = None
    messages: list[Any] | None = None
    input_tokens: int | None = None
    max_tokens: int | None = None

    @property
    def has_input(self) -> bool:
        return self.messages is not None or self.input_tokens is not None


def identify_call(organization_id: int, call: Dimensions, *, now: datetime) -> Dimensions:
    """Return the dimensions with the model as limits know it, beside it the model as sent, and who bills the call."""
    model, provider = cached_price_book(organization_id).identify(call.service, call.model, now)
    return replace(call, model=model, sent_model=call.model if call.model != model else "", provider=provider)


class UnpricedModelError(InvalidError):
    """The cost of the call would be unknown, so a limit that pauses access could not be enforced
    (docs/decisions/017-exact-limits.md)."""

    code = "model_not_priced"


def reserved_tokens(call: Dimensions, estimate: Estimate) -> int:
    """Return the maximum tokens of the call; 0 if only an amount is given."""
    tokens = _tokens(call.model_as_sent, estimate)
    return tokens.input + tokens.output if tokens is not None else 0


def reserved_amount(*, organization: Organization, call: Dimensions, estimate: Estimate, now: datetime) -> Decimal:
    """Return the US dollars to reserve for the call: the larger of the caller's amount and the cost of its tokens.

    Raises InvalidError naming the missing field, and UnpricedModelError if the model has no price and a limit that
    pauses access and has no fallback price covers the call. If none does, only the known cost is reserved.
    """
    tokens = _tokens(call.model_as_sent, estimate)
    known = estimate.usd if estimate.usd is not None else ZERO
    if not call.model:
        return known
    cost = _cost(
        organization, Call(call.service, call.model_as_sent, now, (tokens.quantities if tokens is not None else {},))
    )
    if cost is None:
        cost = _at_fallback_price(organization, call, tokens, now)
    return _bounded(max(known, cost if tokens is not None else ZERO))


def is_free(*, organization: Organization, call: Dimensions, amount_usd: Decimal, now: datetime) -> bool:
    """Whether a call of that maximum cost certainly costs nothing.

    The prices of its model must be zero. An estimate of zero alone does not make a call free: a caller that estimates
    nothing could spend any amount beyond a limit.
    """
    if amount_usd or not call.model:
        return False
    return _cost(organization, Call(call.service, call.model_as_sent, now, (_PROBE,))) == ZERO


@dataclass(frozen=True, slots=True)
class _Tokens:
    input: int
    output: int

    @property
    def quantities(self) -> dict[str, int]:
        return {"input": self.input, "output": self.output}


def _cost(organization: Organization, call: Call) -> Decimal | None:
    """Return the cost at the cached price, which may be up to a second old; read the current prices only on a miss."""
    quote = cached_price_book(organization.pk).quote(call)
    if quote.reason is UnpricedReason.NO_PRICE:
        quote = price_book(organization.pk).quote(call)
    return quote.total_usd


def _tokens(model: str, estimate: Estimate) -> _Tokens | None:
    """Return the maximum tokens of the call, or None if only an amount is given."""
    if not estimate.has_input and estimate.max_tokens is None:
        if estimate.usd is None:
            reason = "Required, unless model, max_tokens and either messages or input_tokens are given."
            raise field_error("estimated_cost_usd", reason, code="required")
        return None
    if not model:
        raise field_error("model", "Required to price tokens.", code="required")
    if not estimate.has_input:
        raise field_error("input_tokens", "Required with max_tokens, unless messages are given.", code="required")
    if estimate.max_tokens is None:
        raise field_error("max_tokens", "Required to estimate the cost of the output.", code="required")
    return _Tokens(_input_tokens(model, estimate), estimate.max_tokens)


def _input_tokens(model: str, estimate: Estimate) -> int:
    if estimate.messages is None:
        return estimate.input_tokens or 0
    if estimate.input_tokens is not None:
        raise field_error("messages", "Give either messages or input_tokens.", code="ambiguous")
    return count_prompt(model, estimate.messages).tokens


def _at_fallback_price(organization: Organization, call: Dimensions, tokens: _Tokens | None, now: datetime) -> Decimal:
    rules = limit_set(organization).rules_for(call, now=now)
    _refuse_unpriced(call.model_as_sent, rules)
    highest = max((rule.fallback_price for rule in rules if rule.fallback_price is not None), default=ZERO)
    if tokens is None:
        return ZERO
    cost = (tokens.input + tokens.output) * highest / _TOKENS_PER_UNIT
    return cost.quantize(_QUANTUM, rounding=ROUND_CEILING) if cost <= MAX_AMOUNT_USD else cost


def _refuse_unpriced(model: str, rules: Sequence[Rule]) -> None:
    if any(rule.pauses and rule.fallback_price is None and rule.unit is LimitUnit.USD for rule in rules):
        message = (
            f"model: {model} has no price, so a limit that pauses access cannot be enforced. Set a price for the "
            "model, name its provider as service, or give the limit a fallback price."
        )
        raise UnpricedModelError(message, param="model")


def _bounded(amount: Decimal) -> Decimal:
    if amount > MAX_AMOUNT_USD:
        message = f"At the model's price, this call may cost more than {MAX_AMOUNT_USD} USD."
        raise InvalidError(message, param="max_tokens", code="out_of_range")
    return amount
