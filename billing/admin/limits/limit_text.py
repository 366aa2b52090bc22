"""Texts about a spend limit: its name, its status, when it resets, and when it may be reached."""

from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.datetimes import LocalTimes
from billing.limits.cache import rule_of
from billing.limits.evaluate import resets_or_ends_at
from billing.limits.limit_windows import ROLLING
from billing.limits.threshold_events import SOFT, Cause
from billing.limits.types import LimitStatus, Rule
from billing.models import PAUSING, IncreaseRequest, SpendLimit, ThresholdEvent
from billing.types import IncreaseState, LimitScope, LimitState, LimitWindow, OverrideKind, amount_text

WINDOWS = {
    LimitWindow.ROLLING_24H: "rolling 24 hours",
    LimitWindow.ROLLING_7D: "rolling 7 days",
    LimitWindow.ROLLING_30D: "rolling 30 days",
    LimitWindow.CALENDAR_DAY: "day",
    LimitWindow.CALENDAR_WEEK: "week",
    LimitWindow.CALENDAR_MONTH: "month",
    LimitWindow.CALENDAR_QUARTER: "quarter",
    LimitWindow.FIXED_PERIOD: "fixed period",
    LimitWindow.LIFETIME: "lifetime",
}
"""The window of an amount, after a limit's name."""

PER = {
    LimitWindow.ROLLING_24H: "any 24 hours",
    LimitWindow.ROLLING_7D: "any seven days",
    LimitWindow.ROLLING_30D: "any 30 days",
    LimitWindow.CALENDAR_DAY: "a day",
    LimitWindow.CALENDAR_WEEK: "a week",
    LimitWindow.CALENDAR_MONTH: "a month",
    LimitWindow.CALENDAR_QUARTER: "a quarter",
    LimitWindow.FIXED_PERIOD: "the period",
    LimitWindow.LIFETIME: "all time",
}
"""The window of an amount, in a sentence."""

REMOVED = "Removed"

_ROLLING = {
    LimitWindow.ROLLING_24H: "24 hours",
    LimitWindow.ROLLING_7D: "7 days",
    LimitWindow.ROLLING_30D: "30 days",
}
_INCREASE_BADGES = {
    IncreaseState.OPEN: "warning",
    IncreaseState.GRANTED: "success",
    IncreaseState.DECLINED: "danger",
}
_BADGES = {
    LimitState.OK: "success",
    LimitState.WARNING: "warning",
    LimitState.EXCEEDED: "danger",
    LimitState.PAUSED: "danger",
}


def name(limit: SpendLimit, value: str = "") -> str:
    """Return `User ada, week`. `value` is a display value of a per-value limit."""
    return f"{whose(limit, value)}, {WINDOWS[LimitWindow(limit.window)]}"


def name_of_rule(rule: Rule) -> str:
    """Return the name of a rule, which is a limit for one value."""
    return f"{whose_rule(rule)}, {WINDOWS[rule.window]}"


def whose(limit: SpendLimit, value: str = "") -> str:
    """Return the scope and value: `Organization`, `User ada`, `Each run`."""
    return whose_rule(rule_of(limit, "", value or limit.scope_value))


def whose_rule(rule: Rule) -> str:
    """Return the scope and value of a rule, with its further conditions: `Each user, model gpt-4o`."""
    conditions = ((rule.scope, "" if rule.is_per_value else rule.display_value), *rule.further)
    names = [
        f"{scope.label} {value}".strip() if value or scope is LimitScope.ORGANIZATION else f"Each {scope.label.lower()}"
        for scope, value in conditions
    ]
    if rule.is_per_value and rule.display_value:
        names[0] = f"{rule.scope.label} {rule.display_value}"
        names[1:] = [name for name, (_, value) in zip(names[1:], rule.further, strict=True) if value]
    return ", ".join([names[0], *(f"{name[:1].lower()}{name[1:]}" for name in names[1:])])


def badge(status: LimitStatus) -> SafeString:
    state, rule = status.evaluation.state, status.rule
    if rule.is_paused_manually:
        return formatting.badge("Paused manually", "danger")
    return formatting.badge(state.label, _BADGES[state])


def increase_badge(request: IncreaseRequest) -> SafeString:
    return formatting.choice_badge(IncreaseState(request.state), _INCREASE_BADGES)


def not_in_force(limit: SpendLimit, now: datetime) -> str:
    """Return why a limit is not in force; empty if it is."""
    if limit.removed_at is not None:
        return REMOVED
    if limit.starts_at is not None and now < limit.starts_at:
        return "Begins later"
    return "Ended" if limit.ends_at is not None and limit.ends_at <= now else ""


def status_sentence(status: LimitStatus, times: LocalTimes) -> str:
    """Return a sentence about the state: what it means for calls, and until when."""
    rule, evaluation = status.rule, status.evaluation
    override = rule.manual_override
    if override is not None:
        until = f" until {times.exact(override.until)}" if override.until is not None else ""
        action = "paused" if override.kind is OverrideKind.PAUSE else "allowed"
        sentence = f"Access is {action} manually{until}: {override.reason}"
        if override.kind is OverrideKind.PAUSE and override.until is None:
            return f"{sentence} (Resume the limit to end the pause. An increase does not end it.)"
        return sentence
    if evaluation.state is LimitState.PAUSED:
        if evaluation.resets_at is None:
            return "Access is paused until the limit is raised."
        return f"Access is paused. It resumes {times.inline(evaluation.resets_at)}."
    if evaluation.state is LimitState.EXCEEDED:
        return "The amount is spent. This limit only sends notifications; access continues."
    left = amount_text(evaluation.remaining_usd, rule.unit)
    return f"{left} left. {'Access is paused at the limit.' if rule.pauses else 'The limit only sends notifications.'}"


def reset(status: LimitStatus, times: LocalTimes) -> SafeString | str:
    """Return when the limit resets: at the end of the window, or when enough spend has left a rolling window."""
    override = status.rule.manual_override
    instant = resets_or_ends_at(status.rule, status.evaluation)
    if status.rule.is_paused_manually and override is not None:
        if override.until is None:
            return "When access is resumed"
        instant = override.until
    if instant is not None:
        return times.two_lines(instant)
    if status.evaluation.is_paused:
        return "When the limit is raised"
    if status.rule.window in ROLLING:
        return formatting.two_lines("Continuously", f"spend stops counting after {_ROLLING[status.rule.window]}")
    return "Never"


def pace(status: LimitStatus, times: LocalTimes) -> SafeString | str:
    """Return when the limit is reached at the present pace; empty if it is reached already."""
    if status.evaluation.spent_usd >= status.rule.amount_usd or status.rule.is_paused_manually:
        return ""
    if not status.has_history:
        if status.hit_at is None:
            return "Not enough history for a forecast"
        return format_html("Reached {} at the rate of the last 24 hours", times.short(status.hit_at))
    if status.hit_at is None:
        return "Not reached at this pace"
    return format_html("Reached {} at this pace", times.short(status.hit_at))


def forecast(status: LimitStatus, times: LocalTimes) -> SafeString | str:
    """Return `pace` for a column of a list: a short time with its condition below it."""
    if not pace(status, times):
        return ""
    if status.hit_at is None:
        first, second = ("Not reached", "at this pace") if status.has_history else ("Not known", "not enough history")
        return formatting.two_lines(first, second)
    rate = "at this pace" if status.has_history else "at the rate of the last 24 hours"
    return formatting.two_lines(times.short(status.hit_at), rate)


def threshold(threshold_event: ThresholdEvent) -> str:
    """Return the threshold: `80%`, `Soft amount` or `Full amount`."""
    if threshold_event.threshold == SOFT:
        return "Soft amount"
    if is_manual_pause(threshold_event):
        return "Paused manually"
    return "Full amount" if threshold_event.threshold == PAUSING else f"{threshold_event.threshold}%"


def is_manual_pause(threshold_event: ThresholdEvent) -> bool:
    """Whether the event is a manual pause, which is independent of the spend."""
    return threshold_event.window_key.startswith(Cause.MANUAL)


def open_state(threshold_event: ThresholdEvent) -> str:
    """Return the state of an unresolved event."""
    return "Still paused" if is_manual_pause(threshold_event) else "Still above"
