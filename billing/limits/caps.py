"""Answers between yes and no: the largest `max_tokens` that fits under the limits of a call, or a cheaper model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from billing.limits.estimate import Estimate, identify_call, is_free, reserved_amount, reserved_tokens
from billing.limits.evaluate import max_committed_usd
from billing.limits.types import Balance, Dimensions, Rule
from billing.types import LimitUnit
from costtrack.errors import InvalidError
from organizations.models import Organization


class Cap(StrEnum):
    """What the client can do instead of the requested call: generate fewer tokens, or call another model."""

    MAX_TOKENS = "max_tokens"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class AcceptedCaps:
    """The caps that a client accepts, in order of preference, and the estimate of the requested call."""

    caps: tuple[Cap, ...]
    estimate: Estimate
    min_tokens: int = 1


@dataclass(frozen=True, slots=True)
class CappedCall:
    """A call that may be made instead of the requested one. `caps` is what the client must do differently."""

    dimensions: Dimensions
    amount_usd: Decimal
    is_free: bool
    caps: dict[str, str | int]
    tokens: int = 0


def alternatives(call: Dimensions, accepted: AcceptedCaps, cheaper_models: Sequence[str]) -> Iterator[tuple[Cap, str]]:
    """Yield what to try: each cap with the model that it is about."""
    if not accepted.estimate.has_input or accepted.estimate.max_tokens is None:
        return  # without tokens there is nothing to compute from
    for cap in accepted.caps:
        models = cheaper_models if cap is Cap.MODEL else [call.model_as_sent]
        yield from ((cap, model) for model in models)


def dimensions_with_model(organization: Organization, call: Dimensions, model: str, now: datetime) -> Dimensions:
    """Return the dimensions of the call with another model. The name may begin with its provider."""
    service = call.service if "/" not in model else ""
    changed = replace(call, service=service, model=model, sent_model="")
    return identify_call(organization.pk, changed, now=now)


def left_usd(rules: Sequence[Rule], balances: Sequence[Balance]) -> Decimal | None:
    """Return the largest amount that fits under every limit; None: any amount. Negative: not even a free call."""
    amounts = [
        maximum - balance.committed_usd if balance.spent_usd < maximum else Decimal(-1)
        for rule, balance in zip(rules, balances, strict=True)
        if rule.unit is LimitUnit.USD and (maximum := max_committed_usd(rule)) is not None
    ]
    return min(amounts, default=None)


def fit_call(
    organization: Organization,
    cap: Cap,
    call: Dimensions,
    accepted: AcceptedCaps,
    left: Decimal | None,
    now: datetime,
) -> CappedCall | None:
    """Return the call with what the cap changes, if it then costs at most `left`."""
    if cap is Cap.MODEL:
        # What the caller estimates in US dollars is the cost of the requested model.
        usd = _cost(organization, call, replace(accepted.estimate, usd=None), now)
        free = usd is not None and is_free(organization=organization, call=call, amount_usd=usd, now=now)
        if usd is None or not (free or _fits(usd, left)):
            return None
        return CappedCall(call, usd, free, {"model": call.model_as_sent}, reserved_tokens(call, accepted.estimate))
    tokens = _largest_max_tokens(organization, call, accepted, left, now)
    if tokens is None:
        return None
    estimate = replace(accepted.estimate, max_tokens=tokens)
    usd = _cost(organization, call, estimate, now)
    if usd is None:
        return None
    return CappedCall(call, usd, is_free=False, caps={"max_tokens": tokens}, tokens=reserved_tokens(call, estimate))


def _largest_max_tokens(
    organization: Organization, call: Dimensions, accepted: AcceptedCaps, left: Decimal | None, now: datetime
) -> int | None:
    """Return the largest number of output tokens with which the call costs at most `left`, by bisection."""
    estimate = accepted.estimate

    def fits(tokens: int) -> bool:
        usd = _cost(organization, call, replace(estimate, max_tokens=tokens), now)
        return usd is not None and _fits(usd, left)

    low, high = max(accepted.min_tokens, 1), estimate.max_tokens or 0
    if low > high or not fits(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _fits(usd: Decimal, left: Decimal | None) -> bool:
    return left is None or usd <= left


def _cost(organization: Organization, call: Dimensions, estimate: Estimate, now: datetime) -> Decimal | None:
    """Return the maximum cost of the call; None if it is unknown or too large to store."""
    try:
        return reserved_amount(organization=organization, call=call, estimate=estimate, now=now)
    except InvalidError:
        return None
