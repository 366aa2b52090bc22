"""What one limit's page says first: how it stands, in large, and how it was set. The tables are in `limit_tables`."""

from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.formatting import Fact
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
class Standing:
    """The figures in large."""

    tone: str
    badge: SafeString
    spent: str
    amount: str
    sentence: str
    gauge: SafeString
    legend: tuple[tuple[str, str, str], ...]
    """A class of the gauge's colors, a label and an amount."""
    thresholds: tuple[Threshold, ...]
    facts: list[Fact]
    unpriced: int
    has_fallback: bool


@dataclass(frozen=True, slots=True)
class LimitPage:
    name: str
    amount: str
    not_in_force: str
    """Why it does not hold now, or empty."""
    is_of_each: bool
    is_plan: bool
    standing: Standing | None
    settings: list[Fact]
    values: tuple[ValueRow, ...]
    exceptions: tuple[ExceptionRow, ...]
    requests: tuple[RequestRow, ...]
    crossings: tuple[CrossingRow, ...]
    crossings_url: str

    @property
    def is_in_place(self) -> bool:
        return self.not_in_force != limit_text.REMOVED


def limit_page(limit: SpendLimit, *, may_manage: bool, now: datetime) -> LimitPage:
    status = status_of(limit, now)
    return LimitPage(
        name=limit_text.name(limit),
        amount=usd(limit.amount_usd),
        not_in_force=limit_text.not_in_force(limit, now),
        is_of_each=limit.is_of_each,
        is_plan=limit.is_plan,
        standing=None if status is None else _standing(status, limit.organization, now),
        settings=formatting.present(_settings(limit)),
        values=value_rows(limit, may_manage=may_manage, now=now) if limit.is_of_each else (),
        exceptions=exception_rows(limit, may_manage=may_manage, now=now),
        requests=request_rows(limit),
        crossings=crossing_rows(limit, now=now),
        crossings_url=crossings_of(limit),
    )


def status_of(limit: SpendLimit, now: datetime, *, value: str = "") -> LimitStatus | None:
    """How a limit stands; of one that each value has for itself, for this value (as it is kept). None: it is not in
    force, or no value is named."""
    book = limit_set(limit.organization)
    if limit.is_of_each and value:
        rule = book.rule(limit.pk, value, now=now)
    else:
        rule = next((rule for rule in book.rules_of_single_limits(now=now) if rule.limit_id == limit.pk), None)
    if rule is None:
        return None
    (status,) = statuses(organization=limit.organization, rules=[rule], now=now)
    return status


def _standing(status: LimitStatus, organization: Organization, now: datetime) -> Standing:
    rule, evaluation, calendar = status.rule, status.evaluation, organization.calendar
    held = (
        formatting.link(open_authorizations(organization.pk), "Open authorizations") if evaluation.reserved_usd else ""
    )
    return Standing(
        tone=progress_bar.TONES[evaluation.state],
        badge=limit_text.badge(status),
        spent=usd(evaluation.spent_usd),
        amount=usd(rule.amount_usd),
        sentence=limit_text.standing_sentence(status, calendar=calendar, now=now),
        gauge=progress_bar.bar(status, is_large=True),
        legend=tuple(_legend(status)),
        thresholds=tuple(_thresholds(status)),
        facts=formatting.present([*_facts(status, calendar, now), ("Held by", held)]),
        unpriced=status.unpriced,
        has_fallback=bool(rule.fallback_price),
    )


def _legend(status: LimitStatus) -> list[tuple[str, str, str]]:
    evaluation = status.evaluation
    return [
        ("ct-spent", f"Spent, {progress_bar.percent_spent(status):,} %", formatting.exact(evaluation.spent_usd)),
        ("ct-held", "Held by authorizations", formatting.exact(evaluation.reserved_usd)),
        ("ct-left", "Left", formatting.exact(evaluation.remaining_usd)),
    ]


def _thresholds(status: LimitStatus) -> list[Threshold]:
    rule, spent = status.rule, status.evaluation.spent_usd
    marks = [
        ("All of it" if threshold == PAUSING else f"{threshold} %", progress_bar.threshold_usd(rule, threshold))
        for threshold in rule.thresholds
    ]
    if rule.soft_amount_usd is not None:
        marks.append(("Soft amount", rule.soft_amount_usd))
    marks.sort(key=lambda mark: mark[1])
    return [Threshold(label, usd(amount), spent >= amount) for label, amount in marks]


def _facts(status: LimitStatus, calendar: Calendar, now: datetime) -> list[tuple[str, SafeString | str]]:
    rule, span = status.rule, status.evaluation.span
    since = datetimes.exact(span.start, calendar) if span.start is not None else "The first event"
    raised = rule.raised_until
    return [
        ("Counts since", since),
        ("Resets", limit_text.reset(status, calendar=calendar, now=now)),
        ("Reached at this pace", _forecast(status, calendar, now)),
        ("Without the raise", usd(rule.base_amount_usd) if rule.amount_usd != rule.base_amount_usd else ""),
        ("Raised until", datetimes.both(raised, calendar=calendar, now=now) if raised is not None else ""),
        ("As of", datetimes.exact(status.evaluation.as_of, calendar)),
    ]


def _forecast(status: LimitStatus, calendar: Calendar, now: datetime) -> SafeString | str:
    if status.evaluation.spent_usd >= status.rule.amount_usd:
        return ""
    if status.hit_at is None:
        return "Not in sight, if spend goes on as in the last 24 hours"
    return limit_text.forecast(status, calendar=calendar, now=now)


def _settings(limit: SpendLimit) -> list[tuple[str, str]]:
    calendar = limit.organization.calendar
    fallback = limit.fallback_price
    return [
        ("Of", limit_text.whose(limit)),
        ("Amount", f"{formatting.exact(limit.amount_usd)} for {limit_text.PER[LimitWindow(limit.window)]}"),
        ("When it is reached", limit.get_action_display()),
        ("Warns at", ", ".join(f"{threshold} %" for threshold in limit.thresholds)),
        ("Soft amount", formatting.exact(limit.soft_amount_usd)),
        ("Fallback price", f"{formatting.exact(fallback)} per million tokens" if fallback is not None else ""),
        ("Begins", datetimes.exact(limit.starts_at, calendar) if limit.starts_at is not None else ""),
        ("Ends", datetimes.exact(limit.ends_at, calendar) if limit.ends_at is not None else ""),
        ("Removed", datetimes.exact(limit.removed_at, calendar) if limit.removed_at is not None else ""),
        ("Set by", f"The {limit.organization.plan.name} plan" if limit.is_plan else ""),
        ("Organization", limit.organization.name),
    ]
