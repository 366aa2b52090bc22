"""Limits on the home page and the overview: one line about those that need attention, and a summary of a limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.urls import change_url
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.limit_statuses import notable_statuses
from billing.limits.types import LimitStatus
from billing.types import LimitScope, LimitState, LimitWindow, amount_text
from organizations.models import Organization

_MAX_NAMED = 3
_ICONS = {
    LimitState.WARNING: "notifications_active",
    LimitState.EXCEEDED: "error",
    LimitState.PAUSED: "pause_circle",
}
# The card shows the first of the organization's own limits in this order.
_WINDOWS = (
    LimitWindow.ROLLING_7D,
    LimitWindow.CALENDAR_WEEK,
    LimitWindow.CALENDAR_MONTH,
    LimitWindow.ROLLING_30D,
    LimitWindow.CALENDAR_DAY,
    LimitWindow.ROLLING_24H,
    LimitWindow.CALENDAR_QUARTER,
    LimitWindow.FIXED_PERIOD,
    LimitWindow.LIFETIME,
)


@dataclass(frozen=True, slots=True)
class LimitSummary:
    """A limit's status as texts. `pace` says when it will be reached."""

    name: str
    url: str
    tone: str
    badge: SafeString
    gauge: SafeString
    figures: str
    sentence: str
    at: str
    resets: SafeString | str
    pace: SafeString | str


@dataclass(frozen=True, slots=True)
class Attention:
    """The limits that are near, reached or paused. `only` is the limit if there is just one; otherwise `names` are the
    worst of them with their states, and `more` the number of others. `tone` and `icon` are those of the worst. `key`
    changes when a limit comes near, is reached or resumes, so a dismissed line appears again."""

    key: str
    tone: str
    icon: str
    count: int
    names: Sequence[str]
    more: int
    only: LimitSummary | None


@dataclass(frozen=True, slots=True)
class LimitOverview:
    statuses: Sequence[LimitStatus]
    """Those of the organization's own limits, and of others that are near or reached; the worst first."""
    attention: Attention | None


def limit_overview(organization: Organization, *, now: datetime) -> LimitOverview:
    statuses = notable_statuses(organization=organization, now=now)
    return LimitOverview(statuses, _attention(statuses, LocalTimes(organization.calendar, now)))


def limit_card(organization: Organization, limits: LimitOverview, *, now: datetime) -> LimitSummary | None:
    """Return the organization's own limit, preferably the weekly one."""
    own = [status for status in limits.statuses if status.rule.scope is LimitScope.ORGANIZATION]
    first = min(own, key=lambda status: _WINDOWS.index(status.rule.window), default=None)
    return limit_summary(first, LocalTimes(organization.calendar, now)) if first is not None else None


def _attention(statuses: Sequence[LimitStatus], times: LocalTimes) -> Attention | None:
    pressing = [status for status in statuses if status.evaluation.state is not LimitState.OK]
    if not pressing:
        return None
    worst = pressing[0]
    named = pressing[:_MAX_NAMED]
    return Attention(
        key="limits " + " ".join(sorted(_key(status) for status in pressing)),
        tone=progress_bar.TONES[worst.evaluation.state],
        icon=_ICONS[worst.evaluation.state],
        count=len(pressing),
        names=[
            f"{formatting.middle(limit_text.name_of_rule(status.rule), 48)} ({_state(status, times)})"
            for status in named
        ],
        more=len(pressing) - len(named),
        only=limit_summary(worst, times) if len(pressing) == 1 else None,
    )


def _key(status: LimitStatus) -> str:
    return f"{status.rule.limit_id}:{status.rule.display_value}:{status.evaluation.state.value}"


def _state(status: LimitStatus, times: LocalTimes) -> str:
    """Return the spent percentage, or since the limit is reached, until when it pauses."""
    state, resets_at = status.evaluation.state, status.evaluation.resets_at
    if state is LimitState.WARNING:
        return f"{progress_bar.percent_spent(status):,}%"
    if status.rule.is_paused_manually:
        return "paused manually"
    until = f" until {times.short_text(resets_at)}" if state is LimitState.PAUSED and resets_at is not None else ""
    return f"{state.label.lower()}{until}"


def limit_summary(status: LimitStatus, times: LocalTimes) -> LimitSummary:
    state, rule = status.evaluation.state, status.rule
    return LimitSummary(
        name=limit_text.name_of_rule(rule),
        url=change_url("billing_spendlimit", rule.limit_id),
        tone=progress_bar.TONES[state],
        badge=limit_text.badge(status),
        gauge=progress_bar.labeled(status),
        figures=progress_bar.sentence(status),
        sentence=limit_text.status_sentence(status, times),
        at=f"{'Pauses' if rule.pauses else 'Notifies'} at {amount_text(rule.amount_usd, rule.unit)}",
        resets=limit_text.reset(status, times),
        pace=limit_text.pace(status, times),
    )
