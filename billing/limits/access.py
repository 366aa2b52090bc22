"""May calls like this one go ahead? The answer of an authorization that reserves nothing. Read-only."""

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
    """What stands in the way of a call that may cost so much (None: of any that costs a little); None if nothing does.

    Raises UnpricedModelError where only the model's missing price does.
    """
    usd = estimated_usd if estimated_usd is not None else ZERO
    rules = limit_set(organization).rules_for(call, now=now)
    found = read_balances(organization=organization, rules=rules, now=now)
    calendar = organization.calendar
    fits = [
        fits_at(rule, balance, usd=usd, calendar=calendar, now=now) == now
        for rule, balance in zip(rules, found, strict=True)
    ]
    # Only who is refused waits for the reasons.
    refused = None if all(fits) else refusal(organization=organization, rules=rules, requested_usd=usd, now=now)
    if refused is None and call.model:
        reserved_amount(organization=organization, call=call, estimate=Estimate(usd=usd), now=now)
    return refused
