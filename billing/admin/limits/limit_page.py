"""The content of a limit's page: its status and configuration. The tables are in `limit_tables`."""

from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.formatting import Detail
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.authorization_page import open_authorizations
from billing.admin.limits.limit_tables import (
    CrossingRow,
    ExceptionRow,
    RequestRow,
    ValueRow,
    crossing_rows,
    crossings_of,
    exception_rows,
    request_rows,
    value_rows,
)
from billing.limits.cache import limit_set
from billing.limits.status import statuses
from billing.limits.types import LimitStatus
from billing.models import PAUSING, SpendLimit
from billing.types import LimitWindow
from costtrack.calendar import Calendar
from costtrack.money import usd
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class Threshold:
    label: str
    amount: str
    is_reached: bool


@dataclass(frozen=True, slots=True)
class StatusCard:
    """The main figures of a limit."""

    tone: str
    badge: SafeString
    spent: str
    amount: str
    sentence: str
    gauge: SafeString
    legend: tuple[tuple[str, str, str], ...]
    """A CSS class, a label and an amount each."""
    thresholds: tuple[Threshold, ...]
    details: list[Detail]
    unpriced: int
    has_fallback: bool


@dataclass(frozen=True, slots=True)
class LimitPage:
    name: str
    amount: str
    not_in_force: str
    """Why the limit is not in force, or empty."""
    is_per_value: bool
    is_plan: bool
    status_card: StatusCard | None
    settings: list[Detail]
    values: tuple[ValueRow, ...]
    exceptions: tuple[ExceptionRow, ...]
    requests: tuple[RequestRow, ...]
    crossings: tuple[CrossingRow, ...]
    crossings_url: str

    @property
    def is_editable(self) -> bool:
        return self.not_in_force != limit_text.REMOVED


def limit_page(limit: SpendLimit, *, may_manage: bool, now: datetime) -> LimitPage:
    status = status_of(limit, now)
    return LimitPage(
        name=limit_text.name(limit),
        amount=usd(limit.amount_usd),
        not_in_force=limit_text.not_in_force(limit, now),
        is_per_value=limit.is_per_value,
        is_plan=limit.is_plan,
        status_card=None if status is None else _status_card(status, limit.organization, now),
        settings=formatting.without_empty(_settings(limit)),
        values=value_rows(limit, may_manage=may_manage, now=now) if limit.is_per_value else (),
        exceptions=exception_rows(limit, may_manage=may_manage, now=now),
        requests=request_rows(limit),
        crossings=crossing_rows(limit, now=now),
        crossings_url=crossings_of(limit),
    )


def status_of(limit: SpendLimit, now: datetime, *, value: str = "") -> LimitStatus | None:
    """Return the status of a limit; for a per-value limit, that of a stored value. None if the limit is not in force or
    the value is missing."""
    org_limits = limit_set(limit.organization)
    if limit.is_per_value and value:
        rule = org_limits.rule(limit.pk, value, now=now)
    else:
        rule = next((rule for rule in org_limits.single_limit_rules(now=now) if rule.limit_id == limit.pk), None)
    if rule is None:
        return None
    (status,) = statuses(organization=limit.organization, rules=[rule], now=now)
    return status


def _status_card(status: LimitStatus, organization: Organization, now: datetime) -> StatusCard:
    rule, evaluation, calendar = status.rule, status.evaluation, organization.calendar
    open_link = (
        formatting.link(open_authorizations(organization.pk), "Open authorizations") if evaluation.reserved_usd else ""
    )
    return StatusCard(
        tone=progress_bar.TONES[evaluation.state],
        badge=limit_text.badge(status),
        spent=usd(evaluation.spent_usd),
        amount=usd(rule.amount_usd),
        sentence=limit_text.status_sentence(status, calendar=calendar, now=now),
        gauge=progress_bar.bar(status, is_large=True),
        legend=tuple(_legend(status)),
        thresholds=tuple(_thresholds(status)),
        details=formatting.without_empty([*_details(status, calendar, now), ("Reserved by", open_link)]),
        unpriced=status.unpriced,
        has_fallback=bool(rule.fallback_price),
    )


def _legend(status: LimitStatus) -> list[tuple[str, str, str]]:
    evaluation = status.evaluation
    return [
        ("ct-spent", f"Spent, {progress_bar.percent_spent(status):,} %", formatting.exact(evaluation.spent_usd)),
        ("ct-reserved", "Reserved by authorizations", formatting.exact(evaluation.reserved_usd)),
        ("ct-left", "Left", formatting.exact(evaluation.remaining_usd)),
    ]


def _thresholds(status: LimitStatus) -> list[Threshold]:
    rule, spent = status.rule, status.evaluation.spent_usd
    marks = [
        ("Full amount" if threshold == PAUSING else f"{threshold} %", progress_bar.threshold_usd(rule, threshold))
        for threshold in rule.thresholds
    ]
    if rule.soft_amount_usd is not None:
        marks.append(("Soft amount", rule.soft_amount_usd))
    marks.sort(key=lambda mark: mark[1])
    return [Threshold(label, usd(amount), spent >= amount) for label, amount in marks]


def _details(status: LimitStatus, calendar: Calendar, now: datetime) -> list[tuple[str, SafeString | str]]:
    rule, span = status.rule, status.evaluation.span
    since = datetimes.exact(span.start, calendar) if span.start is not None else "First event"
    raised = rule.raised_until
    return [
        ("Counting since", since),
        ("Resets", limit_text.reset(status, calendar=calendar, now=now)),
        ("Reached at this pace", _forecast(status, calendar, now)),
        ("Amount without the raise", usd(rule.base_amount_usd) if rule.amount_usd != rule.base_amount_usd else ""),
        ("Raised until", datetimes.two_lines(raised, calendar=calendar, now=now) if raised is not None else ""),
        ("As of", datetimes.exact(status.evaluation.as_of, calendar)),
    ]


def _forecast(status: LimitStatus, calendar: Calendar, now: datetime) -> SafeString | str:
    if status.evaluation.spent_usd >= status.rule.amount_usd:
        return ""
    if status.hit_at is None:
        return "Not expected at the pace of the last 24 hours"
    return limit_text.forecast(status, calendar=calendar, now=now)


def _settings(limit: SpendLimit) -> list[tuple[str, str]]:
    calendar = limit.organization.calendar
    fallback = limit.fallback_price
    return [
        ("Scope", limit_text.whose(limit)),
        ("Amount", f"{formatting.exact(limit.amount_usd)} for {limit_text.PER[LimitWindow(limit.window)]}"),
        ("When reached", limit.get_action_display()),
        ("Warns at", ", ".join(f"{threshold} %" for threshold in limit.thresholds)),
        ("Soft amount", formatting.exact(limit.soft_amount_usd)),
        ("Fallback price", f"{formatting.exact(fallback)} per million tokens" if fallback is not None else ""),
        ("Begins", datetimes.exact(limit.starts_at, calendar) if limit.starts_at is not None else ""),
        ("Ends", datetimes.exact(limit.ends_at, calendar) if limit.ends_at is not None else ""),
        ("Removed", datetimes.exact(limit.removed_at, calendar) if limit.removed_at is not None else ""),
        ("Set by", f"The {limit.organization.plan.name} plan" if limit.is_plan else ""),
        ("Organization", limit.organization.name),
    ]
