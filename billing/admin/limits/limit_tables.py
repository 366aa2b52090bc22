"""The tables on a limit's page: values, overrides, increase requests, and threshold events."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.limit_statuses import worst_values
from billing.limits.selectors import active_exceptions, display_values
from billing.limits.types import Rule
from billing.models import IncreaseRequest, SpendLimit, ThresholdEvent
from billing.types import IncreaseState, OverrideKind
from costtrack.calendar import Calendar
from costtrack.money import usd

MAX_VALUES = 10
MAX_CROSSINGS = 10
MAX_REQUESTS = 10


@dataclass(frozen=True, slots=True)
class ValueRow:
    """A value of a per-value limit, with the labels and URLs of its actions."""

    value: str
    badge: SafeString
    gauge: SafeString
    resets: SafeString | str
    actions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ExceptionRow:
    what: str
    of: str
    who: str
    reason: str
    until: SafeString | str
    end_url: str
    """Empty for users who cannot end it."""


@dataclass(frozen=True, slots=True)
class RequestRow:
    url: str
    amount: str
    of: str
    who: str
    reason: str
    until: str


@dataclass(frozen=True, slots=True)
class CrossingRow:
    url: str
    what: str
    of: str
    spent: str
    crossed: SafeString
    resolved: SafeString | str


def value_rows(limit: SpendLimit, *, may_manage: bool, now: datetime) -> tuple[ValueRow, ...]:
    """Return the values that are closest to the limit."""
    calendar = limit.organization.calendar
    return tuple(
        ValueRow(
            value=status.rule.display_value,
            badge=limit_text.badge(status),
            gauge=progress_bar.labelled(status),
            resets=limit_text.reset(status, calendar=calendar, now=now),
            actions=tuple(_actions(limit, status.rule, may_manage=may_manage)),
        )
        for status in worst_values(organization=limit.organization, limit=limit, now=now, max_values=MAX_VALUES)
    )


def exception_rows(limit: SpendLimit, *, may_manage: bool, now: datetime) -> tuple[ExceptionRow, ...]:
    """Return the current overrides, newest first."""
    rows = list(active_exceptions(limit, now))
    shown = _shown(limit, [row.value for row in rows])
    calendar = limit.organization.calendar
    return tuple(
        ExceptionRow(
            what=f"Raised to {usd(row.amount_usd)}" if row.amount_usd is not None else OverrideKind(row.kind).label,
            of=shown[row.value] or ("All values" if limit.is_per_value else ""),
            who=row.actor,
            reason=row.reason,
            until="Ended manually"
            if row.ends_at is None
            else datetimes.two_lines(row.ends_at, calendar=calendar, now=now),
            end_url=_end_url(limit, row.pk) if may_manage else "",
        )
        for row in reversed(rows)
    )


def request_rows(limit: SpendLimit) -> tuple[RequestRow, ...]:
    """Return the open increase requests, newest first."""
    rows = list(
        IncreaseRequest.objects.of(limit.organization)
        .filter(limit=limit, state=IncreaseState.OPEN)
        .order_by("-id")[:MAX_REQUESTS]
    )
    shown = _shown(limit, [row.value for row in rows])
    calendar = limit.organization.calendar
    return tuple(
        RequestRow(
            url=formatting.change_url("billing_increaserequest", id=row.pk),
            amount=usd(row.amount_usd),
            of=shown[row.value],
            who=row.requested_by,
            reason=row.reason,
            until=f"until {datetimes.exact(row.until, calendar)}" if row.until is not None else "",
        )
        for row in rows
    )


def crossing_rows(limit: SpendLimit, *, now: datetime) -> tuple[CrossingRow, ...]:
    """Return the newest threshold events."""
    rows = list(
        ThresholdEvent.objects.of(limit.organization).filter(limit=limit).order_by("-crossed_at", "-id")[:MAX_CROSSINGS]
    )
    shown = _shown(limit, [row.value for row in rows])
    return tuple(
        CrossingRow(
            url=formatting.change_url("billing_thresholdevent", id=row.pk),
            what=limit_text.threshold(row),
            of=shown[row.value],
            spent=f"{usd(row.spent_usd)} of {usd(row.amount_usd)}",
            crossed=datetimes.two_lines(row.crossed_at, calendar=limit.organization.calendar, now=now),
            resolved=_resolved(row, limit.organization.calendar, now),
        )
        for row in rows
    )


def _resolved(row: ThresholdEvent, calendar: Calendar, now: datetime) -> SafeString | str:
    if row.resolved_at is None:
        return limit_text.open_state(row)
    return datetimes.two_lines(row.resolved_at, calendar=calendar, now=now)


def _actions(limit: SpendLimit, rule: Rule, *, may_manage: bool) -> Iterator[tuple[str, str]]:
    toggle = ("Resume", "resume") if rule.is_paused_manually else ("Pause", "pause")
    for label, name in (("Raise", "raise_until"), toggle) if may_manage else (("Request increase", "ask"),):
        path = reverse(f"admin:billing_spendlimit_{name}", args=[limit.pk])
        yield label, f"{path}?{urlencode({'value': rule.display_value})}"


def crossings_of(limit: SpendLimit) -> str:
    """Return the URL of the list of all threshold events of the limit."""
    query = urlencode({"organization": limit.organization_id, "limit": limit.pk})
    return f"{reverse('admin:billing_thresholdevent_changelist')}?{query}"


def _shown(limit: SpendLimit, values: list[str]) -> dict[str, str]:
    """Return the display values of stored values."""
    shown = display_values(limit.organization, [(limit.scope, value) for value in values])
    return {value: shown[limit.scope, value] for value in values}


def _end_url(limit: SpendLimit, exception_id: int) -> str:
    path = reverse("admin:billing_spendlimit_end_exception", args=[limit.pk])
    return f"{path}?{urlencode({'exception': exception_id})}"
