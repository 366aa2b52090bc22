"""Limits on the overview: a banner for each that is near, reached or paused, and a card for the weekly limit."""

from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString

from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.urls import change_url
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.limit_statuses import notable_statuses
from billing.limits.types import LimitStatus
from billing.types import LimitScope, LimitState, LimitWindow, amount_text
from organizations.models import Organization

_MAX_BANNERS = 3
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
    """A limit's status as texts. For a per-value limit it is about the worst value; `has_others` says that others are
    near or reached too."""

    name: str
    url: str
    tone: str
    icon: str
    badge: SafeString
    gauge: SafeString
    figures: str
    sentence: str
    at: str
    resets: SafeString | str
    has_others: bool


@dataclass(frozen=True, slots=True)
class LimitOverview:
    banners: tuple[LimitSummary, ...]
    more: int
    """The number of limits whose banners are not shown."""
    card: LimitSummary | None
    """The organization's own limit, preferably the weekly one."""


def limit_overview(organization: Organization, *, now: datetime) -> LimitOverview:
    status_list = notable_statuses(organization=organization, now=now)
    pressing: dict[int, list[LimitStatus]] = {}
    for status in status_list:
        if status.evaluation.state is not LimitState.OK:
            pressing.setdefault(status.rule.limit_id, []).append(status)
    shown = list(pressing.values())[:_MAX_BANNERS]
    times = LocalTimes(organization.calendar, now)
    own = [status for status in status_list if status.rule.scope is LimitScope.ORGANIZATION]
    first = min(own, key=lambda status: _WINDOWS.index(status.rule.window), default=None)
    return LimitOverview(
        banners=tuple(limit_summary(worst, times, has_others=bool(others)) for worst, *others in shown),
        more=len(pressing) - len(shown),
        card=limit_summary(first, times) if first is not None else None,
    )


def limit_summary(status: LimitStatus, times: LocalTimes, *, has_others: bool = False) -> LimitSummary:
    state, rule = status.evaluation.state, status.rule
    return LimitSummary(
        name=limit_text.name_of_rule(rule),
        url=change_url("billing_spendlimit", rule.limit_id),
        tone=progress_bar.TONES[state],
        icon=_ICONS.get(state, ""),
        badge=limit_text.badge(status),
        gauge=progress_bar.labeled(status),
        figures=progress_bar.sentence(status),
        sentence=limit_text.status_sentence(status, times),
        at=f"{'Pauses' if rule.pauses else 'Notifies'} at {amount_text(rule.amount_usd, rule.unit)}",
        resets=limit_text.reset(status, times),
        has_others=has_others,
    )
