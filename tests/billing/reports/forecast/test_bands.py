"""Hours and days outside their bands: the incidents of a year, and quiet years of all kinds."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from benchmarks.anomalies import (
    DAYS,
    INCIDENTS,
    MAX_FALSE_ALARMS,
    QUIET,
    days_outside,
    false_alarms,
    incidents_found,
    year_of,
)
from benchmarks.forecast import START, year_of_spend
from billing.reports.forecast.bands import windows_outside
from billing.reports.forecast.model import HourlySpend
from costtrack.calendar import Calendar, Unit
from costtrack.clock import DAY, HOUR
from tests.profiles import choose

UTC = Calendar(ZoneInfo("UTC"))


def steady(days: int, *, last_day: list[float]) -> HourlySpend:
    """A dollar in each hour of so many days, and a day with these hours, which may not be over."""
    usd = [1.0] * (days * 24) + last_day
    hours = {START + number * HOUR: amount for number, amount in enumerate(usd)}
    spend = HourlySpend.of(hours, until=START + len(usd) * HOUR, calendar=UTC)
    assert spend is not None
    return spend


def outside(spend: HourlySpend, day: int, *, min_usd: float = 1.0) -> list[tuple[Unit, int, float]]:
    """The unit, the hour of the day and the amount of each window outside its band."""
    windows = windows_outside(spend, date(2025, 1, 6) + day * DAY, min_usd=min_usd)
    start = START + day * DAY
    return [(window.unit, (window.span.start - start) // HOUR, window.actual_usd) for window in windows]


def test_the_incidents_of_a_year_are_found() -> None:
    for seed in range(choose(1, long=5)):
        days = days_outside(year_of_spend(seed))
        assert incidents_found(days) >= {"outage", "runaway"}
        assert false_alarms(days) <= 1
        runaway = days[INCIDENTS["runaway"]]
        assert len(runaway) > 10
        assert all(window.is_rise for window in runaway)
        assert not any(window.is_rise for window in days[INCIDENTS["outage"]])


def test_quiet_years_have_at_most_one_false_alarm_in_a_thousand_days() -> None:
    names, seeds = list(QUIET)[:: choose(2, long=1)], range(choose(1, long=10))
    alarms = {name: sum(len(days_outside(year_of(name, seed))) for seed in seeds) for name in names}
    assert 1_000 * sum(alarms.values()) / (DAYS * len(seeds) * len(names)) <= MAX_FALSE_ALARMS, alarms


def test_an_hour_and_a_day_are_outside_only_if_the_difference_is_meaningful() -> None:
    spend = steady(50, last_day=[1.0] * 10 + [30.0])
    assert outside(spend, 50) == [(Unit.HOUR, 10, 30.0)]
    assert outside(spend, 50, min_usd=40) == []
    over = steady(50, last_day=[1.0] * 10 + [30.0] + [1.0] * 13)
    assert outside(over, 50) == [(Unit.HOUR, 10, 30.0), (Unit.DAY, 0, 53.0)]
    assert outside(steady(50, last_day=[1.0] * 10 + [1.9] + [1.0] * 13), 50, min_usd=0) == []


def test_a_drop_is_found_by_day_and_not_by_hour() -> None:
    assert outside(steady(50, last_day=[0.0] * 23), 50) == []
    assert outside(steady(50, last_day=[0.0] * 24), 50) == [(Unit.DAY, 0, 0.0)]


def test_a_series_with_less_than_six_weeks_of_history_is_quiet() -> None:
    assert outside(steady(41, last_day=[500.0] * 24), 41) == []
    assert outside(steady(42, last_day=[500.0] * 24), 42)
    assert outside(steady(0, last_day=[500.0] * 24), 0) == []


def test_after_a_week_without_spend_a_series_is_new() -> None:
    idle = steady(50, last_day=[0.0] * 24 * 8)
    active = HourlySpend(idle.start, [*idle.usd, *[9.0] * 24], [*idle.hours_of_week, *range(24)], UTC)
    assert outside(active, 58) == []


def test_a_day_with_a_clock_change_has_as_many_hours_as_the_calendar_says() -> None:
    berlin = Calendar(ZoneInfo("Europe/Berlin"))
    start = START - timedelta(hours=1)
    hours = {start + number * HOUR: 1.0 for number in range(83 * 24 + 23)}
    hours[start + 83 * DAY + 12 * HOUR] = 60.0
    spend = HourlySpend.of(hours, until=max(hours) + HOUR, calendar=berlin)
    assert spend is not None
    hour, day = windows_outside(spend, date(2025, 3, 30), min_usd=1)
    assert (hour.unit, day.unit, day.span.end - day.span.start) == (Unit.HOUR, Unit.DAY, 23 * HOUR)
    assert (day.actual_usd, round(day.expected_usd)) == (82.0, 23)
