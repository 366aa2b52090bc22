"""Why a call is refused, and when it would be authorized: the contents of a 429 response."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any

from billing.limits.conditions import DISPLAYED_SEPARATOR
from billing.limits.evaluate import evaluate, fits_at
from billing.limits.reserve import requested
from billing.limits.status import exact_fit
from billing.limits.types import Balance, Evaluation, Rule
from billing.models import Authorization
from billing.types import LimitScope, LimitUnit, LimitWindow, amount_text
from costtrack.clock import iso
from costtrack.errors import DomainError
from costtrack.money import plain
from organizations.models import Organization

CODE = "spend_limit_exceeded"
CURRENCY = "USD"


EARLY_RETRY_SECONDS = 1
"""When to try again if only reservations are in the way. They usually end long before they expire."""


class Reason(StrEnum):
    """Why the call is refused: too much is spent, only reserved, or the limit is paused manually."""

    LIMIT_REACHED = "limit_reached"
    NOT_ENOUGH_LEFT = "not_enough_left"
    RESERVED_BY_OTHERS = "reserved_by_others"
    PAUSED_MANUALLY = "paused_by_hand"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused call. `returns_at` is when it would be authorized if nothing else were spent and no authorization ended
    before it expires; None if unknown."""

    organization: Organization
    rule: Rule
    evaluation: Evaluation
    requested_usd: Decimal
    returns_at: datetime | None

    @property
    def reason(self) -> Reason:
        if self.rule.is_paused_manually:
            return Reason.PAUSED_MANUALLY
        spent, amount = self.evaluation.spent_usd, self.rule.amount_usd
        if spent >= amount:
            return Reason.LIMIT_REACHED
        return Reason.RESERVED_BY_OTHERS if spent + self.requested_usd <= amount else Reason.NOT_ENOUGH_LEFT

    @property
    def retry_at(self) -> datetime | None:
        """Return when to try again: soon if only reservations are in the way, else at `returns_at`."""
        if self.reason is not Reason.RESERVED_BY_OTHERS:
            return self.returns_at
        early = self.evaluation.as_of + timedelta(seconds=EARLY_RETRY_SECONDS)
        return early if self.returns_at is None else min(early, self.returns_at)

    @property
    def retry_after(self) -> int | None:
        """Return the seconds until `retry_at`, rounded up."""
        if self.retry_at is None:
            return None
        return max(math.ceil((self.retry_at - self.evaluation.as_of).total_seconds()), 1)

    @property
    def message(self) -> str:
        """Return an explanation for people."""
        rule, evaluation = self.rule, self.evaluation
        subject, text_of = f"The {describe_limit(rule)}", partial(amount_text, unit=rule.unit)
        if self.reason is Reason.PAUSED_MANUALLY:
            reason = rule.manual_override.reason if rule.manual_override is not None else ""
            text = f"{subject} is paused manually" + (f": {reason}." if reason else ".")
        elif self.reason is Reason.RESERVED_BY_OTHERS:
            text = (
                f"{subject} has {text_of(evaluation.remaining_usd)} left, and the call may cost "
                f"{text_of(self.requested_usd)}: {text_of(evaluation.spent_usd)} of {text_of(rule.amount_usd)} are "
                f"spent, and {text_of(evaluation.reserved_usd)} are reserved by calls in progress."
            )
        elif self.reason is Reason.LIMIT_REACHED:
            text = f"{subject} is reached: {text_of(evaluation.spent_usd)} of {text_of(rule.amount_usd)} are spent."
        else:
            text = (
                f"{subject} has {text_of(evaluation.remaining_usd)} left, and the call may cost "
                f"{text_of(self.requested_usd)}: {text_of(evaluation.spent_usd)} of {text_of(rule.amount_usd)} are "
                f"spent and {text_of(evaluation.reserved_usd)} reserved."
            )
        return f"{text} {self._when()}"

    def details(self) -> dict[str, Any]:
        """Return the fields of the response body other than the message and the code (docs/limits.md)."""
        rule, evaluation = self.rule, self.evaluation
        return {
            "reason": self.reason.value,
            "limit": limit_details(rule),
            "spent_usd": plain(evaluation.spent_usd),
            "reserved_usd": plain(evaluation.reserved_usd),
            "remaining_usd": plain(evaluation.remaining_usd),
            "requested_usd": plain(self.requested_usd),
            "currency": CURRENCY,
            "window_start": iso(evaluation.span.start),
            "window_end": iso(evaluation.span.end),
            "time_zone": self.organization.time_zone,
            "resets_at": iso(self.returns_at),
            "retry_after": self.retry_after,
            "as_of": iso(evaluation.as_of),
            "request_increase": None
            if self.reason is Reason.PAUSED_MANUALLY
            else f"/organizations/{self.organization.slug}/limit-requests",
        }

    def headers(self) -> dict[str, str]:
        """Return the response headers. `x-should-retry: false` keeps the vendors' SDKs from retrying a 429, unless only
        reservations are in the way; `X-RateLimit-Reset` is in epoch seconds."""
        should_retry = self.reason is Reason.RESERVED_BY_OTHERS
        headers = {"x-should-retry": "true" if should_retry else "false", "Cache-Control": "no-store"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.returns_at is not None:
            headers["X-RateLimit-Reset"] = str(math.ceil(self.returns_at.timestamp()))
        return headers

    def _when(self) -> str:
        if self.reason is Reason.RESERVED_BY_OTHERS:
            return "Try again in a moment."
        if self.returns_at is None and self.reason is Reason.PAUSED_MANUALLY:
            return "An increase does not end a manual pause: an owner, an admin or the operator must resume the limit."
        if self.returns_at is None:
            return "It does not reset automatically. Request an increase."
        local = self.returns_at.astimezone(self.organization.calendar.zone)
        return f"Access is back {local:%A, %d %B %Y, at %H:%M:%S} ({self.organization.time_zone})."


class SpendLimitExceededError(DomainError):
    """A limit does not allow the call."""

    status = 429
    code = CODE

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message, extra=refusal.details(), headers=refusal.headers())
        self.refusal = refusal


def refusal(
    *,
    organization: Organization,
    rules: Sequence[Rule],
    balances: Sequence[Balance],
    authorization: Authorization,
    now: datetime,
) -> Refusal | None:
    """Return why a call that these limits cover is refused, or None if it is not.

    If several limits refuse it, the result is the one that does so for the longest time. One with too much spent comes
    before one with too much reserved.
    """
    refusals = [
        Refusal(
            organization,
            rule,
            evaluate(rule, balance, calendar=organization.calendar, now=now),
            usd,
            exact_fit(organization=organization, rule=rule, balance=balance, usd=usd, now=now),
        )
        for rule, balance in zip(rules, balances, strict=True)
        for usd in [requested(rule, authorization)]
        if fits_at(rule, balance, usd=usd, calendar=organization.calendar, now=now) != now
    ]
    return max(refusals, key=lambda refusal: refusal.retry_at or datetime.max.replace(tzinfo=UTC), default=None)


def limit_details(rule: Rule) -> dict[str, Any]:
    """Return a limit as responses, notices and webhooks show it. Conditions and unit are left out if it has none, and
    counts US dollars."""
    # The value of a per-value limit is that of its scope, or if its scope has a value, of the further conditions.
    of_further = rule.display_value if rule.is_per_value and rule.scope_value else ""
    conditions = [{"scope": scope.value, "scope_value": value or of_further} for scope, value in rule.further]
    return {
        "id": rule.limit_id,
        "scope": rule.scope.value,
        "scope_value": rule.scope_value or rule.display_value,
        **({"conditions": conditions} if conditions else {}),
        "window": rule.window.value,
        **({"unit": rule.unit.value} if rule.unit is not LimitUnit.USD else {}),
        "amount_usd": plain(rule.amount_usd),
        "action": rule.action.value,
    }


_WINDOWS = {
    LimitWindow.ROLLING_24H: "limit of 24 hours",
    LimitWindow.ROLLING_7D: "weekly limit",
    LimitWindow.ROLLING_30D: "limit of 30 days",
    LimitWindow.CALENDAR_DAY: "daily limit",
    LimitWindow.CALENDAR_WEEK: "limit of the calendar week",
    LimitWindow.CALENDAR_MONTH: "monthly limit",
    LimitWindow.CALENDAR_QUARTER: "quarterly limit",
    LimitWindow.FIXED_PERIOD: "limit of the period",
    LimitWindow.LIFETIME: "limit",
}


def describe_limit(rule: Rule) -> str:
    """Return the name of a limit, such as "weekly limit of user ada"."""
    named = [(rule.scope, rule.scope_value), *rule.further]
    scopes = [scope.label.lower() for scope, value in named if not value and scope is not LimitScope.ORGANIZATION]
    fixed = [f"{scope.label.lower()} {value}" for scope, value in named if value]
    if scopes and rule.display_value:
        fixed.insert(0, f"{DISPLAYED_SEPARATOR.join(scopes)} {rule.display_value}")
    elif scopes or not fixed:
        fixed.insert(0, "the organization")
    return f"{_WINDOWS[rule.window]} of {', '.join(fixed)}"
