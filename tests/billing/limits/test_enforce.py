"""Enforcement: from usage to threshold events and notices, in each kind of window."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from rest_framework.test import APIClient

from billing.ledger.corrections import adjust
from billing.ledger.price_unpriced import price_unpriced
from billing.models import Delivery, Notice, ThresholdEvent, UsageEvent
from billing.rollups.fold import fold
from billing.types import LimitAction, LimitScope, LimitWindow, NoticeKind
from costtrack.calendar import Unit
from organizations.models import Organization, User
from tests.billing.limits.enforcement import Enforce, Spend, enforced, open_threshold_events, spend
from tests.billing.limits.factories import make_limit
from tests.conftest import Key
from tests.usage import NOW, Send, set_price

__all__ = ["enforced", "spend"]  # fixtures from another module

MINUTE, HOUR, DAY, WEEK = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=7)


def test_a_warning_names_limit_amounts_and_when_it_resets(
    organization: Organization, owner: User, enforced: Enforce, spend: Spend
) -> None:
    limit = make_limit(organization, window=LimitWindow.CALENDAR_WEEK)
    spend("8.05")

    (subject,) = enforced()
    assert subject == (
        "Acme Research: 80% of the limit of the calendar week is used ($8.05 of $10.00), "
        "it resets Mon, Nov 9, 2026, 12:00 AM UTC"
    )
    notice = Notice.objects.get()
    assert notice.kind == NoticeKind.THRESHOLD
    assert notice.data == {
        "organization": "acme",
        "limit": {
            "id": limit.pk,
            "scope": "organization",
            "scope_value": "",
            "window": "calendar_week",
            "amount_usd": "10",
            "action": "pause",
        },
        "threshold": 80,
        "spent_usd": "8.05",
        "remaining_usd": "1.95",
        "window_start": "2026-11-02T00:00:00Z",
        "window_end": "2026-11-09T00:00:00Z",
        "resets_at": "2026-11-09T00:00:00Z",
        "hit_at": "2026-11-02T14:55:00Z",
        "as_of": "2026-11-02T12:00:00Z",
        "time_zone": "UTC",
        "reason": None,
    }
    assert Delivery.objects.get().recipient == owner.email
    threshold_event = ThresholdEvent.objects.get()
    assert (threshold_event.limit, threshold_event.threshold, threshold_event.window_key) == (
        limit,
        80,
        "2026-11-02T00:00:00Z",
    )
    assert (threshold_event.amount_usd, threshold_event.spent_usd, threshold_event.reached_at) == (
        10,
        Decimal("8.05"),
        NOW,
    )
    assert threshold_event.resets_at == datetime(2026, 11, 9, tzinfo=UTC)


def test_nothing_is_reported_twice(organization: Organization, enforced: Enforce, spend: Spend) -> None:
    make_limit(organization)
    spend("10")
    assert len(enforced()) == 1
    fold(now=NOW)
    assert enforced(NOW + MINUTE) == enforced(NOW + MINUTE) == enforced(NOW + HOUR) == []
    spend("3")
    assert enforced(NOW + HOUR) == []


@pytest.mark.parametrize(
    ("window", "end"),
    [
        (LimitWindow.CALENDAR_DAY, "2026-11-03T08:00:00+00:00"),
        (LimitWindow.CALENDAR_WEEK, "2026-11-08T08:00:00+00:00"),
        (LimitWindow.CALENDAR_MONTH, "2026-12-01T08:00:00+00:00"),
    ],
)
def test_a_calendar_window_ends_by_the_organizations_clock_and_week(
    organization: Organization, enforced: Enforce, spend: Spend, window: LimitWindow, end: str
) -> None:
    organization.time_zone, organization.week_start = "America/Los_Angeles", 7
    organization.save()
    make_limit(organization, window=window)
    ends_at = datetime.fromisoformat(end)
    spend("10")

    (subject,) = enforced()
    assert subject.startswith("Acme Research: access is paused until ")
    assert f"{ends_at:%b} {ends_at.day}, {ends_at.year}, 12:00 AM (America/Los_Angeles)" in subject
    assert enforced(ends_at - timedelta(microseconds=1)) == []
    (subject,) = enforced(ends_at)
    assert subject.startswith("Acme Research: access is back, $0.00 of $10.00 of the ")
    assert open_threshold_events() == []
    spend("10", at=ends_at + HOUR)
    assert len(enforced(ends_at + HOUR)) == 1


@pytest.mark.parametrize("window", [LimitWindow.CALENDAR_DAY, LimitWindow.CALENDAR_MONTH, LimitWindow.ROLLING_7D])
def test_open_threshold_events_follow_a_change_of_the_time_zone(
    organization: Organization, enforced: Enforce, spend: Spend, window: LimitWindow
) -> None:
    limit = make_limit(organization, window=window)
    spend("10")
    assert len(enforced()) == 1
    for zone in ("Asia/Tokyo", "Europe/Berlin", "UTC"):
        organization.time_zone = zone
        organization.save()
        assert enforced() == [], "a threshold is announced once in a window, whatever its time zone"
        resets_at = ThresholdEvent.objects.filter(limit=limit, resolved_at=None).values_list("resets_at", flat=True)
        period = {LimitWindow.CALENDAR_DAY: Unit.DAY, LimitWindow.CALENDAR_MONTH: Unit.MONTH}.get(window)
        end = NOW + 7 * DAY if period is None else organization.calendar.period(period, NOW).end
        assert set(resets_at) == {end}


@pytest.mark.parametrize("window", [LimitWindow.CALENDAR_DAY, LimitWindow.CALENDAR_WEEK, LimitWindow.CALENDAR_MONTH])
def test_a_change_of_the_time_zone_announces_nothing_again_and_the_next_window_does(
    organization: Organization, enforced: Enforce, spend: Spend, window: LimitWindow
) -> None:
    make_limit(organization, window=window)
    spend("10")
    assert len(enforced()) == 1
    for zone in ("Pacific/Kiritimati", "Pacific/Honolulu", "Asia/Kolkata", "UTC", "America/New_York"):
        organization.time_zone = zone
        organization.save()
        assert enforced() == [], zone
    unit = {
        LimitWindow.CALENDAR_DAY: Unit.DAY,
        LimitWindow.CALENDAR_WEEK: Unit.WEEK,
        LimitWindow.CALENDAR_MONTH: Unit.MONTH,
    }
    following = organization.calendar.period(unit[window], NOW).end
    assert len(enforced(following)) == 1  # it is back
    spend("10", at=following + HOUR)
    assert len(enforced(following + HOUR)) == 1


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29T08:00:00+00:00", 23), ("2026-10-25T08:00:00+00:00", 25)], ids=["spring", "autumn"]
)
def test_a_day_on_which_clocks_are_changed_is_as_long_as_it_is(
    organization: Organization, enforced: Enforce, spend: Spend, day: str, hours: int
) -> None:
    organization.time_zone = "Europe/Berlin"
    organization.save()
    limit = make_limit(organization)
    noon = datetime.fromisoformat(day)
    begins_at = organization.calendar.start_of(noon.date())
    spend("10", at=begins_at)
    assert len(enforced(noon)) == 1
    assert ThresholdEvent.objects.filter(limit=limit, resets_at=begins_at + hours * HOUR).count() == 3
    assert enforced(begins_at + hours * HOUR - timedelta(microseconds=1)) == []
    assert len(enforced(begins_at + hours * HOUR)) == 1


def test_a_rolling_window_resumes_at_the_very_instant(
    organization: Organization, enforced: Enforce, spend: Spend
) -> None:
    make_limit(organization, window=LimitWindow.ROLLING_7D)
    spent_at = NOW - DAY + timedelta(minutes=17, seconds=23)
    spend("4", at=spent_at)
    spend("6")
    fold(now=NOW)

    (subject,) = enforced()
    assert subject == (
        "Acme Research: access is paused until Sun, Nov 8, 2026, 12:18 PM UTC, "
        "the weekly limit is reached ($10.00 of $10.00)"
    )
    assert Notice.objects.get().data["resets_at"] == "2026-11-08T12:17:23Z"
    assert enforced(spent_at + WEEK - timedelta(microseconds=1)) == []
    assert enforced(spent_at + WEEK) == ["Acme Research: access is back, $6.00 of $10.00 of the weekly limit are used"]


def test_a_lifetime_limit_stays_paused(organization: Organization, enforced: Enforce, spend: Spend) -> None:
    make_limit(organization, window=LimitWindow.LIFETIME)
    spend("10", at=NOW - 400 * DAY)
    assert enforced() == [
        "Acme Research: access is paused until someone changes it, the limit is reached ($10.00 of $10.00)"
    ]
    assert enforced(NOW + 400 * DAY) == []


def test_a_correction_brings_access_back(organization: Organization, enforced: Enforce, spend: Spend) -> None:
    make_limit(organization)
    spend("12")
    assert len(enforced()) == 1
    event = UsageEvent.objects.get()
    adjust(organization=organization, event_id=event.pk, cost_usd=Decimal(9), reason="Typo.", actor="tests", now=NOW)
    (subject,) = enforced()
    assert subject.startswith("Acme Research: access is back, $9.00 of $10.00")
    assert open_threshold_events() == [("", 80)]


def test_events_without_a_price_count_at_the_fallback_price(
    organization: Organization, enforced: Enforce, send: Send
) -> None:
    make_limit(organization, fallback_price=Decimal(5))
    make_limit(organization, window=LimitWindow.LIFETIME)
    send({"id": "new", "model": "brand-new", "input_tokens": 1_000_000, "output_tokens": 600_000})
    (subject,) = enforced()
    assert "80% of the daily limit is used ($8.00 of $10.00)" in subject
    fold(now=NOW)
    assert enforced() == []
    set_price("brand-new", input="1", output="2")
    price_unpriced(organization=organization, now=NOW)
    assert enforced() == []
    assert open_threshold_events() == []


def test_the_soft_amount_is_reported(organization: Organization, enforced: Enforce, spend: Spend) -> None:
    make_limit(organization, soft_amount_usd=Decimal(5), window=LimitWindow.LIFETIME)
    spend("6")
    assert enforced() == ["Acme Research: the soft amount of the limit is reached ($6.00 of $10.00)"]
    assert ThresholdEvent.objects.get().amount_usd == 5
    assert Notice.objects.get().data["threshold"] == 0


def test_a_limit_that_only_notifies_is_exceeded(organization: Organization, enforced: Enforce, spend: Spend) -> None:
    make_limit(organization, action=LimitAction.NOTIFY)
    spend("12.5")
    (subject,) = enforced()
    assert subject.startswith("Acme Research: the daily limit is exceeded ($12.50 of $10.00), it resets ")
    assert Notice.objects.get().kind == NoticeKind.EXCEEDED
    assert enforced(NOW + DAY) == []
    assert open_threshold_events() == []


def test_limits_of_each_scope_for_one_value(
    organization: Organization, enforced: Enforce, key: Key, api: APIClient
) -> None:
    values = {
        LimitScope.CREDENTIAL: key.credential.client_id,
        LimitScope.USER: "ada",
        LimitScope.TAG: "team:search",
        LimitScope.MODEL: "small",
        LimitScope.WORKFLOW: "flow",
        LimitScope.RUN: "run-1",
        LimitScope.SESSION: "session-1",
    }
    for scope, value in values.items():
        make_limit(organization, scope=scope, scope_value=value, window=LimitWindow.LIFETIME)
        make_limit(organization, scope=LimitScope.USER, scope_value=f"not {value}", window=LimitWindow.LIFETIME)
    event = {"user_id": "ada", "tags": ["team:search"], "model": "small", "workflow_id": "flow", "run_id": "run-1"}
    sent = api.post("/usage/events", [{**event, "id": "1", "session_id": "session-1", "cost_usd": "9"}], format="json")
    assert sent.status_code == 200
    assert enforced() == [
        f"Acme Research: 80% of the limit of {scope.value} {value} is used ($9.00 of $10.00)"
        for scope, value in values.items()
    ]


def test_long_and_odd_values_leave_the_line_readable(
    organization: Organization, enforced: Enforce, spend: Spend
) -> None:
    make_limit(organization, scope=LimitScope.TAG, scope_value="long " * 50, window=LimitWindow.LIFETIME)
    spend("8", tags=["long " * 50])
    (subject,) = enforced()
    assert "… is used ($8.00 of $10.00)" in subject
    assert len(subject) < 150


def test_other_organizations_are_not_mixed_up(
    organization: Organization, other_organization: Organization, enforced: Enforce, spend: Spend
) -> None:
    make_limit(organization)
    make_limit(other_organization)
    spend("10", to=other_organization)
    assert enforced() == []
    (subject,) = enforced(of=other_organization)
    assert subject.startswith("Globex Labs: ")
    assert enforced() == []
