"""What the pages say of a spend limit: its name, how it stands, when it resets, when it may be reached."""

from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.limits.threshold_events import SOFT, Cause
from billing.limits.types import LimitStatus, Rule
from billing.models import PAUSING, LimitCrossing, SpendLimit
from billing.types import ExceptionKind, LimitScope, LimitState, LimitWindow
from costtrack.calendar import Calendar
from costtrack.money import usd

WINDOWS = {
    LimitWindow.ROLLING_7D: "rolling 7 days",
    LimitWindow.CALENDAR_DAY: "day",
    LimitWindow.CALENDAR_WEEK: "week",
    LimitWindow.CALENDAR_MONTH: "month",
    LimitWindow.LIFETIME: "all time",
}
"""What an amount is for, beside a name."""

PER = {
    LimitWindow.ROLLING_7D: "any seven days",
    LimitWindow.CALENDAR_DAY: "a day",
    LimitWindow.CALENDAR_WEEK: "a week",
    LimitWindow.CALENDAR_MONTH: "a month",
    LimitWindow.LIFETIME: "all time",
}
"""What an amount is for, in a sentence."""

REMOVED = "Removed"

_EACH = {
    LimitScope.CREDENTIAL: "Each credential",
    LimitScope.USER: "Each user",
    LimitScope.TAG: "Each tag",
    LimitScope.MODEL: "Each model",
    LimitScope.WORKFLOW: "Each workflow",
    LimitScope.RUN: "Each run",
    LimitScope.SESSION: "Each session",
}
_BADGES = {
    LimitState.OK: "success",
    LimitState.WARNING: "warning",
    LimitState.EXCEEDED: "danger",
    LimitState.PAUSED: "danger",
}


def name(limit: SpendLimit, value: str = "") -> str:
    """`User ada, week`. `value` is one of a limit's that holds for each, as people know it."""
    return f"{whose(limit, value)}, {WINDOWS[LimitWindow(limit.window)]}"


def name_of_rule(rule: Rule) -> str:
    """The same of a limit for one value."""
    return f"{rule.scope.label} {rule.display_value}".strip() + f", {WINDOWS[rule.window]}"


def whose(limit: SpendLimit, value: str = "") -> str:
    """`Organization`, `User ada`, `Each run`."""
    if limit.is_of_each and not value:
        return _EACH[LimitScope(limit.scope)]
    return f"{limit.get_scope_display()} {value or limit.scope_value}".strip()


def badge(status: LimitStatus) -> SafeString:
    state, rule = status.evaluation.state, status.rule
    if rule.is_paused_by_hand:
        return formatting.badge("Paused by hand", "danger")
    return formatting.badge(state.label, _BADGES[state])


def not_in_force(limit: SpendLimit, now: datetime) -> str:
    """Why a limit does not hold at all now; empty if it does."""
    if limit.removed_at is not None:
        return REMOVED
    if limit.starts_at is not None and now < limit.starts_at:
        return "Begins later"
    return "Ended" if limit.ends_at is not None and limit.ends_at <= now else ""


def standing_sentence(status: LimitStatus, *, calendar: Calendar, now: datetime) -> str:
    """What the state means for those who spend, and until when."""
    rule, evaluation = status.rule, status.evaluation
    by_hand = rule.by_hand
    if by_hand is not None:
        until = "somebody ends it"
        if by_hand.until is not None:
            until = datetimes.inline(by_hand.until, calendar=calendar, now=now)
        what = "paused" if by_hand.kind is ExceptionKind.PAUSE else "held open"
        return f"Access is {what} by hand until {until}: {by_hand.reason}"
    if evaluation.state is LimitState.PAUSED:
        if evaluation.resets_at is None:
            return "Access is paused, and stays so until the limit is raised."
        return f"Access is paused. It is back {datetimes.inline(evaluation.resets_at, calendar=calendar, now=now)}."
    if evaluation.state is LimitState.EXCEEDED:
        return "The amount is spent. Access goes on, because this limit only notifies."
    left = usd(evaluation.remaining_usd)
    return f"{left} is left until {'access is paused' if rule.pauses else 'it is reached; nothing is paused then'}."


def reset(status: LimitStatus, *, calendar: Calendar, now: datetime) -> SafeString | str:
    """When there is room again: the end of the window, or the instant at which enough old spend leaves it."""
    by_hand = status.rule.by_hand
    instant = status.evaluation.resets_at or status.evaluation.span.end
    if status.rule.is_paused_by_hand and by_hand is not None:
        if by_hand.until is None:
            return "When somebody resumes it"
        instant = by_hand.until
    if instant is not None:
        return datetimes.both(instant, calendar=calendar, now=now)
    if status.rule.window is LimitWindow.ROLLING_7D:
        return formatting.two_lines("All the time", "spend leaves after 7 days")
    return "Never"


def forecast(status: LimitStatus, *, calendar: Calendar, now: datetime) -> SafeString | str:
    """When the amount will be reached if spend goes on as it did in the last day."""
    if status.hit_at is None:
        return formatting.NOTHING
    return datetimes.both(status.hit_at, calendar=calendar, now=now)


def threshold(crossing: LimitCrossing) -> str:
    """`80 %`, or what a crossing of 0 and of 100 percent stands for."""
    if crossing.threshold == SOFT:
        return "Soft amount"
    if is_by_hand(crossing):
        return "Paused by hand"
    return "The whole amount" if crossing.threshold == PAUSING else f"{crossing.threshold} %"


def is_by_hand(crossing: LimitCrossing) -> bool:
    """Whether a person has paused it; its spend need not have reached anything."""
    return crossing.window_key.startswith(Cause.HAND)


def open_state(crossing: LimitCrossing) -> str:
    """What a crossing is that is not over."""
    return "Still paused" if is_by_hand(crossing) else "Still above"


def amount(limit: SpendLimit) -> SafeString:
    return format_html("<strong>{}</strong>", usd(limit.amount_usd))
