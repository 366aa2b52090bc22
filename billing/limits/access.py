"""Check whether a call would be authorized, without reserving anything. Read-only."""

from datetime import datetime
from decimal import Decimal

from billing.limits.balances import read_balances
from billing.limits.cache import limit_set
from billing.limits.estimate import Estimate, reserved_amount
from billing.limits.evaluate import fits_at
from billing.limits.refusal import Refusal, refusal
from billing.limits.types import Dimensions
from costtrack.money import ZERO
from organizations.models import Organization


def access_refusal(
    *, organization: Organization, call: Dimensions, estimated_usd: Decimal | None, now: datetime
) -> Refusal | None:
    """Return why a call would be refused, or None if it would be authorized.

    Without an estimate the call is checked as one that costs next to nothing. Raises UnpricedModelError if the only
    obstacle is that the model has no price.
    """
    usd = estimated_usd if estimated_usd is not None else ZERO
    rules = limit_set(organization).rules_for(call, now=now)
    balances = read_balances(organization=organization, rules=rules, now=now)
    calendar = organization.calendar
    fits = [
        fits_at(rule, balance, usd=usd, calendar=calendar, now=now) == now
        for rule, balance in zip(rules, balances, strict=True)
    ]
    # The reasons take more queries, so they are read only for a refusal.
    refused = None if all(fits) else refusal(organization=organization, rules=rules, requested_usd=usd, now=now)
    if refused is None and call.model:
        reserved_amount(organization=organization, call=call, estimate=Estimate(usd=usd), now=now)
    return refused
