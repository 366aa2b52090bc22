"""Notices about limits: the subject line for people, and the data for programs."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from billing.limits.evaluate import resets_or_ends_at
from billing.limits.refusal import describe_limit, limit_details
from billing.limits.threshold_events import SOFT, Notification
from billing.limits.types import Evaluation, Rule
from billing.models import Notice
from billing.notifications.outbox import notify
from billing.types import NoticeKind, amount_text
from costtrack.clock import MINUTE, iso
from costtrack.date_text import zoned_time_text
from costtrack.money import plain
from organizations.models import Organization

_MAX_VALUE_LENGTH = 60


def notify_threshold_event(
    *,
    organization: Organization,
    rule: Rule,
    evaluation: Evaluation | None,
    hit_at: datetime | None,
    notification: Notification,
    now: datetime,
) -> Notice:
    """Write the notice in the caller's transaction.

    `evaluation` is None for a limit that is no longer in force, or that is paused for all of its values. `hit_at` is
    when the amount will be reached at the present pace.
    """
    return notify(
        organization=organization,
        kind=notification.kind,
        subject=f"{organization.name}: {_sentence(organization, rule, evaluation, notification)}",
        data={
            **_data(organization, rule, evaluation, notification.threshold, now),
            "hit_at": iso(_full_minute(hit_at)),
        },
        now=now,
    )


def notify_summary(*, organization: Organization, rule: Rule, count: int, now: datetime) -> Notice:
    """Write one notice for all values of a per-value limit beyond `MAX_NOTICES_PER_LIMIT`."""
    data = {**_data(organization, rule, None, None, now), "hit_at": None, "more_values": count}
    subject = f"{organization.name}: {count:,} more have passed thresholds of the {_limit_label(rule)}"
    return notify(organization=organization, kind=NoticeKind.THRESHOLD, subject=subject, data=data, now=now)


def resets_at(rule: Rule, evaluation: Evaluation | None) -> datetime | None:
    """Return when spend is below the amount again or the window ends. None if that is unknown or depends on a user."""
    if rule.is_paused_manually and rule.manual_override is not None:
        return rule.manual_override.until
    return None if evaluation is None else resets_or_ends_at(rule, evaluation)


def _data(
    organization: Organization, rule: Rule, evaluation: Evaluation | None, threshold: int | None, now: datetime
) -> dict[str, Any]:
    span = evaluation.span if evaluation is not None else None
    return {
        "organization": organization.slug,
        "limit": limit_details(rule),
        "threshold": threshold,
        "spent_usd": plain(evaluation.spent_usd) if evaluation is not None else None,
        "remaining_usd": plain(evaluation.remaining_usd) if evaluation is not None else None,
        "window_start": iso(span.start) if span is not None else None,
        "window_end": iso(span.end) if span is not None else None,
        "resets_at": iso(resets_at(rule, evaluation)),
        "as_of": iso(now),
        "time_zone": organization.time_zone,
        "reason": rule.manual_override.reason if rule.manual_override is not None and rule.is_paused_manually else None,
    }


def _sentence(organization: Organization, rule: Rule, evaluation: Evaluation | None, notification: Notification) -> str:
    limit = _limit_label(rule)
    at = resets_at(rule, evaluation)
    when = None if at is None else _local(organization, at)
    used = _used(rule, evaluation) if evaluation is not None else ""
    match notification.kind:
        case NoticeKind.PAUSED:
            end = "until it is resumed" if rule.is_paused_manually else "until someone changes it"
            until = f"until {when}" if when is not None else end
            if rule.is_paused_manually and rule.manual_override is not None:
                return f"access is paused manually {until} ({limit}): {rule.manual_override.reason}"
            return f"access is paused {until}, the {limit} is reached ({used})"
        case NoticeKind.RESUMED:
            return f"access is back, {used} of the {limit} are used" if used else f"access is back ({limit})"
        case NoticeKind.EXCEEDED:
            text = f"the {limit} is exceeded ({used})"
        case _ if notification.threshold == SOFT:
            text = f"the soft amount of the {limit} is reached ({used})"
        case _:
            text = f"{notification.threshold}% of the {limit} is used ({used})"
    return text if when is None else f"{text}, it resets {when}"


def _limit_label(rule: Rule) -> str:
    """Return `weekly limit` or `weekly limit of user ada`. Long values are shortened."""
    if rule.is_per_value and not rule.display_value:
        return f"limit of each {rule.scope.label.lower()}"
    short = replace(
        rule,
        scope_value=_shortened(rule.scope_value),
        display_value=_shortened(rule.display_value),
        further=tuple((scope, _shortened(value)) for scope, value in rule.further),
    )
    return describe_limit(short).removesuffix(" of the organization")


def _shortened(value: str) -> str:
    return value if len(value) <= _MAX_VALUE_LENGTH else f"{value[: _MAX_VALUE_LENGTH - 1]}…"


def _used(rule: Rule, evaluation: Evaluation) -> str:
    return f"{amount_text(evaluation.spent_usd, rule.unit)} of {amount_text(rule.amount_usd, rule.unit)}"


def _full_minute(at: datetime | None) -> datetime | None:
    """Round up to the minute."""
    if at is None:
        return None
    full = at.replace(second=0, microsecond=0)
    return full if full == at else full + MINUTE


def _local(organization: Organization, at: datetime) -> str:
    """Format a time in the organization's time zone, rounded up to the minute."""
    zone = organization.calendar.zone
    minute = _full_minute(at) or at
    return f"{minute.astimezone(zone):%a}, {zoned_time_text(minute, zone)}"
