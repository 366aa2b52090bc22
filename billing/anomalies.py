"""Find unusual spend each hour, store it as anomalies, and notify once of each (docs/anomalies.md).

An hour is compared with its band soon after its end, and again in the next two hours. A day is compared in the morning
after it, together with its hours, and a day later again, because events arrive late. Each hour and day of a scope and
value is found once: it is stored under the lock of the organization, with the notice.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing.limits.pace import WEEK
from billing.limits.selectors import display_values
from billing.models import Anomaly, AnomalyWindow
from billing.notifications.anomaly_text import anomalies_headline
from billing.notifications.outbox import notify
from billing.reports.forecast.bands import PAST, OutsideWindow, PastDay, windows_outside
from billing.reports.forecast.explanation import Cause, causes, large_values, spent_usd
from billing.reports.forecast.model import HourlySpend
from billing.reports.forecast.spend import read_hours
from billing.types import LimitScope, NoticeKind
from costtrack.calendar import Span, Unit
from costtrack.clock import DAY, HOUR, MICROSECOND, MINUTE, iso, start_of_hour
from costtrack.money import plain
from costtrack.tenancy import tenant_scope
from organizations import audit
from organizations.models import Organization
from organizations.services import lock_organization

MIN_USD = Decimal(1)
MIN_SHARE = Decimal("0.01")
"""A difference is meaningful if it is at least `MIN_USD`, and this share of what the organization spends on an average
day."""
MAX_LISTED = 20
"""Anomalies that a notice lists."""
_SETTLING = 5 * MINUTE
_HOURS_AGAIN = 3
_DAYS_AGAIN = 2
_MORNING = 6
_CONTINUES_WITHIN = 24 * HOUR
_PRECISION = Decimal("0.000001")
_FIGURES = (
    *("scope", "value", "unit", "starts_at", "ends_at"),
    *("expected_usd", "low_usd", "high_usd", "actual_usd", "explained_by"),
)
Series = tuple[LimitScope, str]
WindowKey = tuple[str, str, str, datetime]
ORGANIZATION: Series = (LimitScope.ORGANIZATION, "")


@dataclass(frozen=True, slots=True)
class _Found:
    """A window that is outside its band."""

    series: Series
    unit: Unit
    span: Span
    expected_usd: Decimal
    low_usd: Decimal
    high_usd: Decimal
    actual_usd: Decimal
    causes: Sequence[Cause]

    @property
    def key(self) -> WindowKey:
        return (self.series[0].value, self.series[1], self.unit.value, self.span.start)

    @property
    def difference_usd(self) -> Decimal:
        return self.actual_usd - self.expected_usd

    @property
    def is_rise(self) -> bool:
        return self.difference_usd > 0

    @property
    def cause(self) -> Series:
        """What the window is matched by: a user or a credential is its own cause; others have that of most of the
        difference."""
        is_own = self.series[0] in (LimitScope.USER, LimitScope.CREDENTIAL)
        return self.series if is_own or not self.causes else (self.causes[0].scope, self.causes[0].value)

    def fields(self) -> dict[str, Any]:
        return {
            "scope": self.series[0].value,
            "value": self.series[1],
            "unit": self.unit.value,
            "starts_at": self.span.start,
            "ends_at": self.span.end,
            "expected_usd": self.expected_usd,
            "low_usd": self.low_usd,
            "high_usd": self.high_usd,
            "actual_usd": self.actual_usd,
            "explained_by": [cause.as_json() for cause in self.causes],
        }


def detect_anomalies(*, organization: Organization, now: datetime) -> int:
    """Compare the last hours, and in the morning the last days, with their bands. Return the number of new
    anomalies."""
    calendar = organization.calendar
    end = start_of_hour(now - _SETTLING)
    hours = Span(end - _HOURS_AGAIN * HOUR, end)
    found = _hours_outside(organization, hours)
    again: list[Span] = []
    if now.astimezone(calendar.zone).hour == _MORNING:
        today = calendar.date_of(now)
        for day in (today - days * DAY for days in range(1, _DAYS_AGAIN + 1)):
            found += _day_outside(organization, day)
            again.append(calendar.days(day, day))
    found = list({window.key: window for window in found}.values())
    if not found and not again:
        return 0
    return _store(organization, found, again, now)


def _hours_outside(organization: Organization, hours: Span) -> list[_Found]:
    calendar = organization.calendar
    days = sorted({calendar.date_of(hours.start), calendar.date_of(hours.end - HOUR)})
    spans = [Span(hours.start + number * HOUR, hours.start + (number + 1) * HOUR) for number in range(_HOURS_AGAIN)]
    return _outside(organization, days, spans, until=hours.end, only=hours)


def _day_outside(organization: Organization, day: date) -> list[_Found]:
    """Compare a day that is over, and its hours. The values with the spend of the same day of the week before are
    compared too, because they may have dropped; and those that were outside, because late events may have changed
    them."""
    span = organization.calendar.days(day, day)
    week_before = organization.calendar.days(day - 7 * DAY, day - 7 * DAY)
    windows = AnomalyWindow.objects.of(organization).filter(starts_at__gte=span.start, starts_at__lt=span.end)
    stored = [(LimitScope(scope), value) for scope, value in windows.values_list("scope", "value").distinct()]
    # Where days do not begin with a full hour, the last hour of a day ends in the next one.
    until = start_of_hour(span.end + HOUR - MICROSECOND)
    return _outside(organization, [day], [span, week_before], until=until, also=stored)


def _outside(
    organization: Organization,
    days: Sequence[date],
    spans: Sequence[Span],
    *,
    until: datetime,
    also: Iterable[Series] = (),
    only: Span | None = None,
) -> list[_Found]:
    """Return the windows of these days that are outside their bands, of the organization and of the values with a
    meaningful spend in one of the spans; `only` these hours."""
    whole = _spend(organization, ORGANIZATION, days, until)
    least = {day: usd for day in days if whole is not None and (usd := _min_usd(whole, day)) is not None}
    if not least:
        return []
    found: list[_Found] = []
    for series in dict.fromkeys([ORGANIZATION, *also, *large_values(organization, spans, min_usd=min(least.values()))]):
        spend = whole if series == ORGANIZATION else _spend(organization, series, days, until)
        known: dict[date, PastDay | None] = {}
        if spend is None:
            continue
        for day, usd in least.items():
            windows = windows_outside(spend, day, min_usd=float(usd), known=known)
            if only is not None:
                windows = [window for window in windows if window.unit is Unit.HOUR and window.span.start >= only.start]
            found += [_explained(organization, series, window) for window in windows]
    return found


def _spend(organization: Organization, series: Series, days: Sequence[date], until: datetime) -> HourlySpend | None:
    since = organization.calendar.start_of(min(days)) - PAST
    scope, value = series
    hours = read_hours(organization, scope, [value], since=since, until=until)
    return HourlySpend.of(hours.get(value, {}), until=until, calendar=organization.calendar)


def _min_usd(whole: HourlySpend, day: date) -> Decimal | None:
    """Return the least meaningful difference; None without a week of history."""
    pace = whole.pace_at(whole.calendar.start_of(day))
    if pace is None:
        return None
    return max(MIN_USD, _amount(float(MIN_SHARE) * pace.sums[-1] * DAY / WEEK))


def _explained(organization: Organization, series: Series, window: OutsideWindow) -> _Found:
    scope, value = series
    expected, actual = _amount(window.expected_usd), spent_usd(organization, scope, value, window.span)
    return _Found(
        series,
        window.unit,
        window.span,
        expected,
        _amount(window.low_usd),
        _amount(window.high_usd),
        actual,
        causes(organization, scope, value, window.span, difference_usd=actual - expected),
    )


def _store(organization: Organization, found: Sequence[_Found], again: Sequence[Span], now: datetime) -> int:
    """Store new windows, update those that late events have changed, and write a notice of new anomalies. `again` are
    days that were compared as a whole: their stored windows that are not found are within their bands now."""
    spans = [*again, *(window.span for window in found)]
    first, last = min(span.start for span in spans), max(span.end for span in spans)
    with tenant_scope(organization.pk), transaction.atomic():
        lock_organization(organization)
        changes = _AnomalyChanges(organization, Span(first, last), now)
        for window in sorted(found, key=lambda window: -abs(window.difference_usd)):
            changes.add(window)
        for span in again:
            changes.remove_others(span, {window.key for window in found})
        created = changes.finish()
        if created:
            _notify(organization, created, now)
    return len(created)


class _AnomalyChanges:
    """The stored anomalies around a span, to which windows are added."""

    def __init__(self, organization: Organization, span: Span, now: datetime) -> None:
        self._organization, self._now = organization, now
        near = Anomaly.objects.of(organization).filter(
            began_at__lte=span.end + _CONTINUES_WITHIN, ended_at__gte=span.start - _CONTINUES_WITHIN
        )
        self._anomalies = {anomaly.pk: anomaly for anomaly in near.order_by("pk")}
        windows = AnomalyWindow.objects.of(organization).filter(anomaly__in=list(self._anomalies))
        self._windows = {_key(window): window for window in windows}
        self._changed: set[int] = set()
        self._created: list[int] = []

    def add(self, found: _Found) -> None:
        stored = self._windows.get(found.key)
        if stored is None:
            anomaly = self._matching(found) or self._create(found)
            window = AnomalyWindow.objects.create(organization=self._organization, anomaly=anomaly, **found.fields())
            self._windows[found.key] = window
            self._changed.add(anomaly.pk)
        elif stored.actual_usd != found.actual_usd:
            for name, value in found.fields().items():
                setattr(stored, name, value)
            stored.save()
            self._changed.add(stored.anomaly_id)

    def remove_others(self, span: Span, keys: Collection[WindowKey]) -> None:
        """Delete the windows that begin in the span and are not among the keys."""
        for key, window in list(self._windows.items()):
            if span.start <= window.starts_at < span.end and key not in keys:
                AnomalyWindow.objects.row(window).delete()
                del self._windows[key]
                self._changed.add(window.anomaly_id)

    def finish(self) -> list[Anomaly]:
        """Update the figures of anomalies with changed windows, and return the new ones."""
        for pk in self._changed:
            anomaly = self._anomalies[pk]
            windows = self._windows_of(anomaly)
            anomaly.withdrawn_at = None if windows else anomaly.withdrawn_at or self._now
            if windows:
                largest = max(
                    windows, key=lambda window: (abs(window.difference_usd), window.scope == LimitScope.ORGANIZATION)
                )
                for name in _FIGURES:
                    setattr(anomaly, name, getattr(largest, name))
                anomaly.began_at = min(window.starts_at for window in windows)
                anomaly.ended_at = max(window.ends_at for window in windows)
            anomaly.save()
        return [self._anomalies[pk] for pk in self._created]

    def _matching(self, found: _Found) -> Anomaly | None:
        """Return the anomaly that a window continues: one in the same direction within a day, whose windows or causes
        include the cause of this window."""
        for anomaly in self._anomalies.values():
            is_near = (
                anomaly.began_at - _CONTINUES_WITHIN <= found.span.end
                and found.span.start <= anomaly.ended_at + _CONTINUES_WITHIN
            )
            if is_near and anomaly.is_rise == found.is_rise and found.cause in self._series_of(anomaly):
                return anomaly
        return None

    def _series_of(self, anomaly: Anomaly) -> set[Series]:
        windows = {(LimitScope(window.scope), window.value) for window in self._windows_of(anomaly)}
        return windows | {(LimitScope(cause["scope"]), cause["value"]) for cause in anomaly.explained_by}

    def _windows_of(self, anomaly: Anomaly) -> list[AnomalyWindow]:
        return [window for window in self._windows.values() if window.anomaly_id == anomaly.pk]

    def _create(self, found: _Found) -> Anomaly:
        anomaly = Anomaly.objects.create(
            organization=self._organization,
            is_rise=found.is_rise,
            began_at=found.span.start,
            ended_at=found.span.end,
            found_at=self._now,
            **found.fields(),
        )
        self._anomalies[anomaly.pk] = anomaly
        self._created.append(anomaly.pk)
        return anomaly


def _key(window: AnomalyWindow) -> WindowKey:
    return (window.scope, window.value, window.unit, window.starts_at)


def _notify(organization: Organization, anomalies: Sequence[Anomaly], now: datetime) -> None:
    """Write one notice of new anomalies, the largest difference first."""
    largest = sorted(anomalies, key=lambda anomaly: -abs(anomaly.difference_usd))
    pairs = [(anomaly.scope, anomaly.value) for anomaly in largest]
    pairs += [(cause["scope"], cause["value"]) for anomaly in largest for cause in anomaly.explained_by]
    names = display_values(organization, pairs)
    listed = [_data(anomaly, names) for anomaly in largest[:MAX_LISTED]]
    notify(
        organization=organization,
        kind=NoticeKind.ANOMALY,
        subject=f"{organization.name}: {anomalies_headline(listed, len(largest), organization.name)}",
        data={
            "organization": organization.slug,
            "anomalies": listed,
            "more": len(largest) - len(listed),
            "as_of": iso(now),
            "time_zone": organization.time_zone,
        },
        now=now,
    )


def _data(anomaly: Anomaly, names: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    return {
        "id": anomaly.pk,
        "direction": "rise" if anomaly.is_rise else "drop",
        "scope": anomaly.scope,
        "scope_value": names[anomaly.scope, anomaly.value],
        "unit": anomaly.unit,
        "start": iso(anomaly.starts_at),
        "end": iso(anomaly.ends_at),
        "spent_usd": plain(anomaly.actual_usd),
        "expected_usd": plain(anomaly.expected_usd),
        "low_usd": plain(anomaly.low_usd),
        "high_usd": plain(anomaly.high_usd),
        "explained_by": [
            {"scope": cause["scope"], "scope_value": names[cause["scope"], cause["value"]], "usd": cause["usd"]}
            for cause in anomaly.explained_by
        ],
    }


@transaction.atomic
def dismiss_anomaly(*, organization: Organization, anomaly: Anomaly, actor: str, now: datetime) -> None:
    """Mark an anomaly as expected: it is no longer marked in charts. It stays in the list."""
    anomaly.dismissed_at, anomaly.dismissed_by = now, actor
    Anomaly.objects.row(anomaly).update(dismissed_at=now, dismissed_by=actor)
    audit.record(
        organization=organization,
        actor=actor,
        action="anomaly.dismissed",
        subject=f"{anomaly.scope} {anomaly.value}".strip(),
        began_at=iso(anomaly.began_at),
    )


def _amount(usd: float) -> Decimal:
    return Decimal(repr(usd)).quantize(_PRECISION)
