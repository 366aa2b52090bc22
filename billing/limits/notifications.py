"""What people and programs are told of a limit: the line and the data of a notice."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.limits.refusal import described, limit_details
from billing.limits.threshold_events import SOFT, Notification
from billing.limits.types import Evaluation, Rule
from billing.models import Notice
from billing.notifications.outbox import notify
from billing.types import NoticeKind
from costtrack.clock import iso
from costtrack.money import plain, usd
from organizations.models import Organization

_MAX_VALUE_LENGTH = 60
_MINUTE = timedelta(minutes=1)


def notify_threshold_event(
    *, organization: Organization, rule: Rule, evaluation: Evaluation | None, told: Notification, now: datetime
) -> Notice:
    """Write the notice in the caller's transaction. Without an evaluation: of a limit that holds no longer, or that is
    paused for all the values that it holds for."""
    return notify(
        organization=organization,
        kind=told.kind,
        subject=f"{organization.name}: {_sentence(organization, rule, evaluation, told)}",
        data=_data(organization, rule, evaluation, told, now),
        now=now,
    )


def notify_summary(*, organization: Organization, rule: Rule, count: int, now: datetime) -> Notice:
    """Of a limit that each value has for itself: how many more there were to tell of than were told one by one."""
    data = {
        "organization": organization.slug,
        "limit": limit_details(rule),
        "threshold": None,
        **dict.fromkeys(("spent_usd", "remaining_usd", "window_start", "window_end", "resets_at", "reason")),
        "as_of": iso(now),
        "time_zone": organization.time_zone,
        "more_values": count,
    }
    subject = f"{organization.name}: {count:,} more have passed thresholds of the {_named(rule)}"
    return notify(organization=organization, kind=NoticeKind.THRESHOLD, subject=subject, data=data, now=now)


def resets_at(rule: Rule, evaluation: Evaluation | None) -> datetime | None:
    """When the limit is below its amount again, or begins anew. None: not in sight, or people decide."""
    if rule.is_paused_by_hand and rule.by_hand is not None:
        return rule.by_hand.until
    return None if evaluation is None else evaluation.resets_at or evaluation.span.end


def _data(
    organization: Organization, rule: Rule, evaluation: Evaluation | None, told: Notification, now: datetime
) -> dict[str, Any]:
    span = evaluation.span if evaluation is not None else None
    return {
        "organization": organization.slug,
        "limit": limit_details(rule),
        "threshold": told.threshold,
        "spent_usd": plain(evaluation.spent_usd) if evaluation is not None else None,
        "remaining_usd": plain(evaluation.remaining_usd) if evaluation is not None else None,
        "window_start": _iso(span.start) if span is not None else None,
        "window_end": _iso(span.end) if span is not None else None,
        "resets_at": _iso(resets_at(rule, evaluation)),
        "as_of": iso(now),
        "time_zone": organization.time_zone,
        "reason": rule.by_hand.reason if rule.by_hand is not None and rule.is_paused_by_hand else None,
    }


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else iso(instant)


def _sentence(organization: Organization, rule: Rule, evaluation: Evaluation | None, told: Notification) -> str:
    limit = _named(rule)
    at = resets_at(rule, evaluation)
    when = None if at is None else _local(organization, at)
    used = f"{_amount(evaluation.spent_usd)} of {_amount(rule.amount_usd)} USD" if evaluation is not None else ""
    match told.kind:
        case NoticeKind.PAUSED:
            until = f"until {when}" if when is not None else "until somebody changes it"
            if rule.is_paused_by_hand and rule.by_hand is not None:
                return f"access is paused by hand {until} ({limit}): {rule.by_hand.reason}"
            return f"access is paused {until}, the {limit} is reached ({used})"
        case NoticeKind.RESUMED:
            return f"access is back, {used} of the {limit} are used" if used else f"access is back ({limit})"
        case NoticeKind.EXCEEDED:
            said = f"the {limit} is exceeded ({used})"
        case _ if told.threshold == SOFT:
            said = f"the soft amount of the {limit} is reached ({used})"
        case _:
            said = f"{told.threshold} % of the {limit} is used ({used})"
    return said if when is None else f"{said}, it resets {when}"


def _named(rule: Rule) -> str:
    """`weekly limit`, `weekly limit of user ada`. Values are what callers send, of any length."""
    shown = rule.display_value
    if len(shown) > _MAX_VALUE_LENGTH:
        rule = replace(rule, display_value=f"{shown[: _MAX_VALUE_LENGTH - 1]}…")
    if rule.is_of_each and not shown:
        return f"limit of each {rule.scope.label.lower()}"
    return described(rule).removesuffix(" of the organization")


def _amount(amount: Decimal) -> str:
    return usd(amount).replace("$", "")


def _local(organization: Organization, at: datetime) -> str:
    """By the organization's clocks, to the minute, and never too early."""
    full = at.replace(second=0, microsecond=0)
    local = (full if full == at else full + _MINUTE).astimezone(organization.calendar.zone)
    return f"{local:%a %d %b %Y %H:%M} ({organization.time_zone})"
