"""The pace of spend: by weekday and hour of the day, from the last four weeks."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from billing.limits.forecast import forecast
from billing.limits.pace import History, WeeklyPace, organization_pace, weekly_pace
from billing.limits.status import LimitFilter, list_limits
from billing.limits.types import LimitStatus
from billing.rollups.fold import fold
from billing.types import LimitWindow
from costtrack.calendar import Calendar
from organizations.models import Organization
from tests.billing.limits.test_forecast import rule, spent
from tests.limits import set_limit
from tests.usage import NOW as MONDAY
from tests.usage import Send

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
BERLIN = Calendar(ZoneInfo("Europe/Berlin"))
SUNDAY = datetime(2026, 11, 8, 11, 30, tzinfo=UTC)  # 12:30 in Berlin
WORKING_HOURS = tuple(day * 24 + hour for day in range(5) for hour in range(9, 17))


def history(weeks: int = 4, usd: float = 1.0, *, now: datetime = SUNDAY, day_usd: float = 0.0) -> History:
    """An amount in each of the 40 working hours of the week in Berlin, since so many weeks."""
    first = now.replace(minute=0) - weeks * WEEK
    return History(first, tuple((hour, usd * weeks) for hour in WORKING_HOURS), 40 * usd, day_usd)


def pace(past: History, now: datetime = SUNDAY, recent: str = "0") -> WeeklyPace | None:
    return weekly_pace(past, calendar=BERLIN, recent_usd=Decimal(recent), now=now)


def test_a_quiet_sunday_is_followed_by_a_working_week() -> None:
    known = pace(history())
    assert known is not None
    assert known.usd_until(20 * HOUR) == 0  # until Monday 8:30
    assert float(known.usd_until(20 * HOUR + 150 * timedelta(minutes=1))) == pytest.approx(2)
    assert float(known.usd_until(3 * WEEK)) == pytest.approx(120)
    # Monday 9:00 is 20.5 hours away, and the third dollar is spent when 12:00 begins.
    assert known.time_for(Decimal(3)) == pytest.approx(20.5 * HOUR + 3 * HOUR, abs=timedelta(seconds=1))
    assert known.time_for(Decimal(43)) == pytest.approx(WEEK + 23.5 * HOUR, abs=timedelta(seconds=1))
    assert known.time_for(Decimal(0)) == timedelta()
    assert known.time_for(Decimal(10) ** 9) == timedelta(days=3653)


def test_the_limits_of_a_sunday_know_the_week() -> None:
    known = pace(history())
    week = rule(LimitWindow.ROLLING_7D, "39")
    thirty = spent(*((SUNDAY - 4 * DAY, "1") for _ in range(30)))
    reached = forecast(week, thirty, recent_usd=Decimal(0), pace=known, calendar=BERLIN, now=SUNDAY)
    assert reached == pytest.approx(datetime(2026, 11, 10, 9, tzinfo=UTC), abs=timedelta(seconds=1))  # Tuesday 10:00
    day = rule(LimitWindow.ROLLING_24H, "8")
    eight = forecast(day, spent(), recent_usd=Decimal(0), pace=known, calendar=BERLIN, now=SUNDAY)
    assert eight is not None
    assert eight.astimezone(BERLIN.zone).strftime("%a %H") == "Mon 17"
    assert forecast(rule(LimitWindow.CALENDAR_DAY, "1"), spent(), recent_usd=Decimal(0), pace=known,
                    calendar=BERLIN, now=SUNDAY) is None  # fmt: skip
    assert forecast(rule(LimitWindow.ROLLING_24H, "9"), spent(), recent_usd=Decimal(0), pace=known,
                    calendar=BERLIN, now=SUNDAY) is None  # fmt: skip


def test_less_than_a_week_is_not_enough() -> None:
    assert pace(History(None, (), 0, 0)) is None
    assert pace(history()._replace(first_hour=SUNDAY.replace(minute=0) - WEEK + HOUR)) is None
    assert pace(history(weeks=1)) is not None


def test_a_part_of_a_week_counts_for_its_hours() -> None:
    """Ten days: the last three days occurred twice, the others once."""
    hour = SUNDAY.replace(minute=0)
    past = History(hour - 10 * DAY, tuple((each, 2.0) for each in range(168)), 24 * 7 * 1.5, 0)
    known = pace(past)
    assert known is not None
    ahead = [known.sums[index + 1] - known.sums[index] for index in (0, 95, 96, 167)]
    assert ahead[0] == pytest.approx(ahead[1])
    assert ahead[2] == pytest.approx(ahead[3])
    assert ahead[1] == pytest.approx(2 * ahead[2])


def test_a_runaway_raises_the_level_and_a_busy_weekday_does_not() -> None:
    wednesday = datetime(2026, 11, 11, 17, 0, tzinfo=UTC)
    usual = pace(history(now=wednesday, day_usd=8.0), wednesday)
    runaway = pace(history(now=wednesday, day_usd=8.0), wednesday, recent="80")
    assert usual is not None
    assert runaway is not None
    assert usual.sums[-1] == pytest.approx(40)
    assert runaway.sums[-1] == pytest.approx(400)
    nothing = pace(history(usd=0.0))
    assert nothing is not None
    assert nothing.is_zero


def test_history_is_read_in_the_time_zone_and_limits_use_it(organization: Organization, send: Send) -> None:
    """Each day at 9:00 in Auckland, which is 20:00 UTC."""
    Organization.objects.filter(pk=organization.pk).update(time_zone="Pacific/Auckland")
    organization.refresh_from_db()
    set_limit(organization, "16.5", window=LimitWindow.ROLLING_7D)
    start = MONDAY.replace(hour=20, minute=10, second=0) - 15 * DAY
    send(*({"occurred_at": (start + day * DAY).isoformat(), "cost_usd": "2"} for day in range(15)))
    (before,) = list_limits(organization=organization, filters=LimitFilter(), now=MONDAY - HOUR)
    assert isinstance(before, LimitStatus)
    assert not before.has_history
    fold(now=MONDAY)
    known = organization_pace(organization, MONDAY)
    assert known is not None
    hours = [(MONDAY + hour * HOUR).astimezone(organization.calendar.zone).hour for hour in range(24)]
    assert float(known.usd_until(24 * HOUR)) == pytest.approx(2)
    ahead = next(hour for hour in range(25) if known.usd_until(hour * HOUR) > 1)
    assert hours[ahead - 1] == 9
    later = MONDAY + HOUR
    (status,) = list_limits(organization=organization, filters=LimitFilter(), now=later)
    assert isinstance(status, LimitStatus)
    assert status.has_history
    assert organization_pace(Organization.objects.create(slug="new", name="New"), MONDAY) is None
