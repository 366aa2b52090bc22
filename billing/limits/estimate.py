"""What is reserved for a call: the most that it can cost, as far as that is known before.

Input counts at the price of uncached tokens and output as long as it may become. (A cache that is written costs more
than that, at some providers: an authorization's event brings what the call did cost.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

from billing.limits.cache import limit_set
from billing.limits.types import Dimensions, Rule
from billing.pricing.cache import cached_price_book, price_book
from billing.pricing.calculate import CompiledPrice
from billing.pricing.tokens import count_prompt
from billing.pricing.types import TokenUsage
from costtrack.errors import InvalidError
from costtrack.money import DECIMALS, LARGEST, ZERO
from organizations.models import Organization

_TOKENS_PER_UNIT = 1_000_000
_QUANTUM = Decimal(1).scaleb(-DECIMALS)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the caller knows of a call's cost: an amount, or tokens (of messages, or counted), or both."""

    usd: Decimal | None = None
    messages: list[Any] | None = None
    input_tokens: int | None = None
    max_tokens: int | None = None

    @property
    def has_input(self) -> bool:
        return self.messages is not None or self.input_tokens is not None


class UnpricedModelError(InvalidError):
    """The cost of the call would be unknown, so a limit that pauses could not count it
    (docs/decisions/017-exact-limits.md)."""

    code = "model_not_priced"


def reserved_amount(*, organization: Organization, call: Dimensions, estimate: Estimate, now: datetime) -> Decimal:
    """US dollars to reserve for the call: the larger of the caller's amount and what its tokens cost.

    Raises InvalidError naming what is missing, and UnpricedModelError where a limit that pauses covers the call, names
    no fallback price, and the model has no price. What no such limit covers is reserved as far as it is known.
    """
    tokens = _tokens(call.model, estimate)
    known = estimate.usd if estimate.usd is not None else ZERO
    if not call.model:
        return known
    price = _price(organization, call, now)
    cost = price.cost(tokens or TokenUsage()) if price is not None else None
    if cost is None:
        cost = _at_fallback_price(organization, call, tokens, now)
    return _bounded(max(known, cost if tokens is not None else ZERO))


def _price(organization: Organization, call: Dimensions, now: datetime) -> CompiledPrice | None:
    """An estimate may be by the prices of a second ago; that there is no price must be true now."""
    return cached_price_book(organization.pk).find(call.service, call.model, now) or price_book(organization.pk).find(
        call.service, call.model, now
    )


def _tokens(model: str, estimate: Estimate) -> TokenUsage | None:
    """The most tokens that the call can have; None if only an amount is given."""
    if not estimate.has_input and estimate.max_tokens is None:
        if estimate.usd is None:
            message = "say what the call may cost, or give model, messages or input_tokens, and max_tokens."
            raise InvalidError(f"estimated_cost_usd: {message}", param="estimated_cost_usd", code="required")
        return None
    if not model:
        raise InvalidError("model: is needed to tell what tokens cost.", param="model", code="required")
    if not estimate.has_input:
        message = "input_tokens: is needed beside max_tokens, or messages to count."
        raise InvalidError(message, param="input_tokens", code="required")
    if estimate.max_tokens is None:
        message = "max_tokens: is needed to tell what the call may cost: how many tokens the output has at most."
        raise InvalidError(message, param="max_tokens", code="required")
    return TokenUsage(input_tokens=_input_tokens(model, estimate), output_tokens=estimate.max_tokens)


def _input_tokens(model: str, estimate: Estimate) -> int:
    if estimate.messages is None:
        return estimate.input_tokens or 0
    if estimate.input_tokens is not None:
        raise InvalidError("messages: give messages or input_tokens, not both.", param="messages", code="ambiguous")
    return count_prompt(model, estimate.messages).tokens


def _at_fallback_price(
    organization: Organization, call: Dimensions, tokens: TokenUsage | None, now: datetime
) -> Decimal:
    rules = limit_set(organization).rules_for(call, now=now)
    _refuse_unpriced(call.model, rules)
    highest = max((rule.fallback_price for rule in rules if rule.fallback_price is not None), default=ZERO)
    if tokens is None:
        return ZERO
    cost = (tokens.input_tokens + tokens.output_tokens) * highest / _TOKENS_PER_UNIT
    return cost.quantize(_QUANTUM, rounding=ROUND_CEILING) if cost <= LARGEST else cost


def _refuse_unpriced(model: str, rules: Sequence[Rule]) -> None:
    if any(rule.pauses and rule.fallback_price is None for rule in rules):
        message = (
            f"model: no price that covers the call is known for {model}, so a limit that pauses could not hold. Set a "
            "price for it, name its provider as service, or give the limit a fallback price."
        )
        raise UnpricedModelError(message, param="model")


def _bounded(amount: Decimal) -> Decimal:
    if amount > LARGEST:
        message = f"At the model's price this call may cost more than {LARGEST} USD."
        raise InvalidError(message, param="max_tokens", code="out_of_range")
    return amount
