"""Enforcement when people change a limit, hold it open or pause it, and when that ends."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.limits.services import change_limit, end_override, open_limit, pause_limit, remove_limit
from billing.models import LimitOverride, Notice, SpendLimit, ThresholdEvent
from billing.models.rollups import OrganizationHour
from billing.types import LimitAction, LimitWindow, NoticeKind
from organizations.models import Organization
from tests.billing.limits.enforcement import Enforce, Spend, enforced, open_threshold_events, spend
from tests.billing.limits.factories import SOON, SYSTEM, make_limit, raised
from tests.usage import NOW

__all__ = ["enforced", "spend"]  # fixtures from another module

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)


@pytest.fixture
def limit(organization: Organization, enforced: Enforce, spend: Spend) -> SpendLimit:
    """10 USD a month, reached and notified."""
    limit = make_limit(organization, window=LimitWindow.CALENDAR_MONTH)
    spend("12")
    assert len(enforced()) == 1
    return limit


def kinds() -> list[str]:
    return [kind.removeprefix("limit.") for kind in Notice.objects.order_by("pk").values_list("kind", flat=True)]


def pause(limit: SpendLimit, *, reason: str = "We look into it.") -> LimitOverride:
    return pause_limit(
        organization=limit.organization, limit=limit, value="", reason=reason, ends_at=SOON, actor=SYSTEM, now=NOW
    )


def hold_open(limit: SpendLimit) -> LimitOverride:
    return open_limit(
        organization=limit.organization, limit=limit, value="", reason="Launch.", ends_at=SOON, actor=SYSTEM, now=NOW
    )


def change(limit: SpendLimit, **changes: object) -> None:
    change_limit(organization=limit.organization, limit=limit, changes=changes, actor=SYSTEM, now=NOW)


def test_a_raise_resumes_and_when_it_expires_the_limit_pauses_again(limit: SpendLimit, enforced: Enforce) -> None:
    raised(limit, 20)
    assert enforced() == ["Acme Research: access is back, $12.00 of $20.00 of the monthly limit are used"]
    assert Notice.objects.latest("pk").data["limit"]["amount_usd"] == "20"
    assert enforced(SOON - timedelta(microseconds=1)) == []
    (subject,) = enforced(SOON)
    assert (
        "access is paused until Tue, Dec 1, 2026, 12:00 AM UTC, the monthly limit is reached ($12.00 of $10.00"
        in subject
    )
    assert kinds() == ["paused", "resumed", "paused"]
    assert ThresholdEvent.objects.filter(amount_usd=10).count() == 3


def test_spend_is_warned_of_by_the_raised_amount(limit: SpendLimit, enforced: Enforce, spend: Spend) -> None:
    raised(limit, 20)
    enforced()
    spend("4")
    (subject,) = enforced()
    assert "80% of the monthly limit is used ($16.00 of $20.00)" in subject
    spend("4")
    enforced()
    assert kinds() == ["paused", "resumed", "threshold_reached", "paused"]


def test_a_raise_for_good_resumes_and_lowering_pauses_at_once(limit: SpendLimit, enforced: Enforce) -> None:
    change(limit, amount_usd=Decimal(20))
    enforced()
    change(limit, amount_usd=Decimal(12))
    enforced()
    change(limit, amount_usd=Decimal(20))
    enforced()
    change(limit, amount_usd=Decimal(10))
    enforced()
    assert kinds() == ["paused", "resumed", "paused", "resumed", "paused"]
    assert open_threshold_events() == [("", 80), ("", 95), ("", 100)]


def test_holding_open_resumes_and_its_end_pauses(limit: SpendLimit, enforced: Enforce) -> None:
    hold_open(limit)
    (subject,) = enforced()
    assert subject == "Acme Research: access is back, $12.00 of $10.00 of the monthly limit are used"
    assert enforced(SOON - HOUR) == []
    assert len(enforced(SOON)) == 1
    assert kinds() == ["paused", "resumed", "paused"]


def test_a_pause_by_hand_says_so_and_why(organization: Organization, enforced: Enforce, spend: Spend) -> None:
    limit = make_limit(organization)
    spend("3")
    override = pause(limit)
    assert enforced() == [
        (
            "Acme Research: access is paused manually until Tue, Nov 3, 2026, 12:00 PM UTC (daily limit): "
            "We look into it."
        )
    ]
    data = Notice.objects.get().data
    assert (data["threshold"], data["spent_usd"], data["resets_at"]) == (100, "3", "2026-11-03T12:00:00Z")
    assert data["reason"] == "We look into it."
    assert enforced(NOW + HOUR) == []
    end_override(organization=organization, override=override, actor=SYSTEM, now=NOW + 2 * HOUR)
    assert enforced(NOW + 2 * HOUR) == ["Acme Research: access is back, $3.00 of $10.00 of the daily limit are used"]


def test_a_manual_pause_outlasts_windows_and_expires(
    organization: Organization, enforced: Enforce, spend: Spend
) -> None:
    limit = make_limit(organization)
    spend("12")
    enforced()
    pause(limit)
    assert len(enforced()) == 1
    # The day is over, and what was spent in it; the pause is not.
    assert enforced(NOW + 13 * HOUR) == []
    assert open_threshold_events() == [("", 100)]
    assert enforced(SOON) == ["Acme Research: access is back, $0.00 of $10.00 of the daily limit are used"]


def test_an_action_that_changes_is_reported(limit: SpendLimit, enforced: Enforce) -> None:
    for action in (LimitAction.NOTIFY, LimitAction.PAUSE):
        change(limit, action=action)
        enforced()
    assert kinds() == ["paused", "resumed", "paused"]


def test_a_removed_limit_brings_access_back(limit: SpendLimit, enforced: Enforce) -> None:
    remove_limit(organization=limit.organization, limit=limit, actor=SYSTEM, now=NOW)
    assert enforced() == ["Acme Research: access is back (monthly limit)"]
    notice = Notice.objects.latest("pk")
    assert notice.kind == NoticeKind.RESUMED
    assert (notice.data["limit"]["id"], notice.data["spent_usd"], notice.data["resets_at"]) == (limit.pk, None, None)
    assert open_threshold_events() == enforced() == []


def test_a_limit_that_ends_or_has_not_begun_is_not_enforced(
    organization: Organization, enforced: Enforce, spend: Spend
) -> None:
    make_limit(organization, starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)
    spend("12")
    assert enforced() == []
    assert len(enforced(NOW + HOUR)) == 1
    assert enforced(NOW + 2 * HOUR) == ["Acme Research: access is back (daily limit)"]


def test_usage_is_recorded_while_access_is_paused(limit: SpendLimit, enforced: Enforce, spend: Spend) -> None:
    pause(limit)
    enforced()
    spend("100")
    assert enforced() == []
    assert OrganizationHour.live().objects.aggregate(total=Sum("token_cost_usd")) == {"total": 112}


def test_who_had_to_wait_does_not_bring_back_a_window_that_is_over(limit: SpendLimit, enforced: Enforce) -> None:
    assert len(enforced(NOW + 31 * DAY)) == 1
    assert enforced(NOW) == []
    assert open_threshold_events() == []
