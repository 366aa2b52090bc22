"""Limits on the overview: a banner for each that is near, reached or paused, and a card for the weekly limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString

from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.urls import change_url
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.limit_statuses import notable_statuses
from billing.limits.types import LimitStatus
from billing.types import LimitScope, LimitState, LimitWindow
from costtrack.money import usd
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
    LimitWindow.CALENDAR_DAY,
    LimitWindow.LIFETIME,
)


@dataclass(frozen=True, slots=True)
class Banner:
    tone: str
    icon: str
    organization: str
    name: str
    state: SafeString
    figures: str
    sentence: str
    url: str


@dataclass(frozen=True, slots=True)
class LimitCard:
    """The organization's own limit, preferably the weekly one."""

    name: str
    gauge: SafeString
    at: str
    resets: SafeString | str
    url: str


@dataclass(frozen=True, slots=True)
class LimitOverview:
    banners: tuple[Banner, ...]
    more: int
    """The number of limits whose banners are not shown."""
    card: LimitCard | None


def limit_overview(organization: Organization, *, now: datetime) -> LimitOverview:
    status_list = notable_statuses(organization=organization, now=now)
    pressing: dict[int, list[LimitStatus]] = {}
    for status in status_list:
        if status.evaluation.state is not LimitState.OK:
            pressing.setdefault(status.rule.limit_id, []).append(status)
    shown = list(pressing.values())[:_MAX_BANNERS]
    return LimitOverview(
        banners=tuple(_banner(organization, worst, has_others=bool(others), now=now) for worst, *others in shown),
        more=len(pressing) - len(shown),
        card=_card(organization, status_list, now),
    )


def _banner(organization: Organization, status: LimitStatus, *, has_others: bool, now: datetime) -> Banner:
    """Return a limit's banner; for a per-value limit it is about the worst value."""
    return Banner(
        tone=progress_bar.TONES[status.evaluation.state],
        icon=_ICONS[status.evaluation.state],
        organization=organization.name,
        name=limit_text.name_of_rule(status.rule) + (" and others" if has_others else ""),
        state=limit_text.badge(status),
        figures=progress_bar.sentence(status),
        sentence=limit_text.status_sentence(status, LocalTimes(organization.calendar, now)),
        url=change_url("billing_spendlimit", status.rule.limit_id),
    )


def _card(organization: Organization, status_list: Sequence[LimitStatus], now: datetime) -> LimitCard | None:
    own = [status for status in status_list if status.rule.scope is LimitScope.ORGANIZATION]
    status = min(own, key=lambda status: _WINDOWS.index(status.rule.window), default=None)
    if status is None:
        return None
    return LimitCard(
        name=limit_text.name_of_rule(status.rule),
        gauge=progress_bar.labelled(status),
        at=f"{'Pauses' if status.rule.pauses else 'Notifies'} at {usd(status.rule.amount_usd)}",
        resets=limit_text.reset(status, LocalTimes(organization.calendar, now)),
        url=change_url("billing_spendlimit", status.rule.limit_id),
    )
