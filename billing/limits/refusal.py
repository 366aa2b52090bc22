"""Why a call may not go ahead, and from when on it may: what a 429 says, for machines and for people."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from billing.limits.status import status_and_fit
from billing.limits.types import LimitStatus, Rule
from billing.types import LimitWindow
from costtrack.clock import iso
from costtrack.errors import DomainError
from costtrack.money import plain, usd
from organizations.models import Organization

CODE = "spend_limit_exceeded"
CURRENCY = "USD"


class Reason(StrEnum):
    """What stands in the way."""

    LIMIT_REACHED = "limit_reached"
    NOT_ENOUGH_LEFT = "not_enough_left"
    PAUSED_BY_HAND = "paused_by_hand"


@dataclass(frozen=True, slots=True)
class Refusal:
    """`returns_at` is when a call of that amount would be granted if nothing else were spent; None: not in sight."""

    organization: Organization
    status: LimitStatus
    requested_usd: Decimal
    returns_at: datetime | None

    @property
    def reason(self) -> Reason:
        if self.status.rule.is_paused_by_hand:
            return Reason.PAUSED_BY_HAND
        if self.status.evaluation.spent_usd >= self.status.rule.amount_usd:
            return Reason.LIMIT_REACHED
        return Reason.NOT_ENOUGH_LEFT

    @property
    def retry_after(self) -> int | None:
        """In whole seconds, rounded up: by then it is time."""
        if self.returns_at is None:
            return None
        return max(math.ceil((self.returns_at - self.status.evaluation.as_of).total_seconds()), 1)

    @property
    def message(self) -> str:
        """A sentence or three for people."""
        rule, stands = self.status.rule, self.status.evaluation
        what = f"The {described(rule)}"
        if self.reason is Reason.PAUSED_BY_HAND:
            by_hand = rule.by_hand.reason if rule.by_hand is not None else ""
            said = f"{what} is paused by hand" + (f": {by_hand}." if by_hand else ".")
        elif self.reason is Reason.LIMIT_REACHED:
            said = f"{what} is reached: {usd(stands.spent_usd)} of {usd(rule.amount_usd)} are spent."
        else:
            said = (
                f"{what} has {usd(stands.remaining_usd)} left, and the call may cost {usd(self.requested_usd)}: "
                f"{usd(stands.spent_usd)} of {usd(rule.amount_usd)} are spent and {usd(stands.reserved_usd)} reserved."
            )
        return f"{said} {self._when()}"

    def details(self) -> dict[str, Any]:
        """The fields of the response body besides the message and the code (docs/limits.md)."""
        rule, stands = self.status.rule, self.status.evaluation
        return {
            "reason": self.reason.value,
            "limit": limit_details(rule),
            "spent_usd": plain(stands.spent_usd),
            "reserved_usd": plain(stands.reserved_usd),
            "remaining_usd": plain(stands.remaining_usd),
            "requested_usd": plain(self.requested_usd),
            "currency": CURRENCY,
            "window_start": iso(stands.span.start) if stands.span.start is not None else None,
            "window_end": iso(stands.span.end) if stands.span.end is not None else None,
            "time_zone": self.organization.time_zone,
            "resets_at": iso(self.returns_at) if self.returns_at is not None else None,
            "retry_after": self.retry_after,
            "as_of": iso(stands.as_of),
            "request_increase": f"/organizations/{self.organization.slug}/limit-requests",
        }

    def headers(self) -> dict[str, str]:
        """Vendors' SDKs repeat a 429 unless they are told not to; `X-RateLimit-Reset` is in epoch seconds."""
        headers = {"x-should-retry": "false", "Cache-Control": "no-store"}
        if self.returns_at is not None:
            headers["Retry-After"] = str(self.retry_after)
            headers["X-RateLimit-Reset"] = str(math.ceil(self.returns_at.timestamp()))
        return headers

    def _when(self) -> str:
        if self.returns_at is None:
            return "It does not free itself: ask for an increase."
        local = self.returns_at.astimezone(self.organization.calendar.zone)
        return f"Access is back {local:%A, %d %B %Y, at %H:%M:%S} ({self.organization.time_zone})."


class SpendLimitExceededError(DomainError):
    """A limit has no room for the call."""

    status = 429
    code = CODE

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message, extra=refusal.details(), headers=refusal.headers())
        self.refusal = refusal


def refusal(
    *, organization: Organization, rules: Sequence[Rule], requested_usd: Decimal, now: datetime
) -> Refusal | None:
    """What stands in the way of a call that these limits cover: of several the one that lasts longest. None: nothing,
    as of this moment."""
    found = [
        Refusal(organization, status, requested_usd, returns_at)
        for rule in rules
        if rule.pauses or rule.is_paused_by_hand
        for status, returns_at in [status_and_fit(organization=organization, rule=rule, usd=requested_usd, now=now)]
        if returns_at is None or returns_at > now
    ]
    return max(found, key=lambda one: one.returns_at or datetime.max.replace(tzinfo=UTC), default=None)


def limit_details(rule: Rule) -> dict[str, Any]:
    """A limit as answers, notices and webhooks name it."""
    return {
        "id": rule.limit_id,
        "scope": rule.scope.value,
        "scope_value": rule.display_value,
        "window": rule.window.value,
        "amount_usd": plain(rule.amount_usd),
        "action": rule.action.value,
    }


_WINDOWS = {
    LimitWindow.ROLLING_7D: "weekly limit",
    LimitWindow.CALENDAR_DAY: "daily limit",
    LimitWindow.CALENDAR_WEEK: "limit of the calendar week",
    LimitWindow.CALENDAR_MONTH: "monthly limit",
    LimitWindow.LIFETIME: "limit",
}


def described(rule: Rule) -> str:
    """A limit in words: "weekly limit of user ada"."""
    whose = "the organization" if not rule.display_value else f"{rule.scope.label.lower()} {rule.display_value}"
    return f"{_WINDOWS[rule.window]} of {whose}"
