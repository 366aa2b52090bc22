"""Hours, days, weeks and months in time zones that do odd things to them."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costtrack.calendar import Calendar, Preset, Span, Unit

# Half and quarter hours, changes by half an hour and by two, at midnight, and a day that never was.
ZONES = (
    *("UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"),
    *("Antarctica/Troll", "America/Santiago", "America/St_Johns", "America/Havana", "Asia/Beirut", "Pacific/Apia"),
    *("America/Caracas", "Asia/Pyongyang", "Africa/Casablanca", "Pacific/Kiritimati"),
)
SECOND = timedelta(seconds=1)

calendars = st.builds(Calendar, st.sampled_from(ZONES).map(ZoneInfo), st.integers(1, 7))
instants = st.datetimes(datetime(2000, 1, 2), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
units = st.sampled_from(Unit)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@given(calendars, units, instants)
def test_every_moment_is_in_its_period_and_the_period_begins_and_ends_for_all_that_are_in_it(
    calendar: Calendar, unit: Unit, instant: datetime
) -> None:
    period = calendar.period(unit, instant)
    assert period.start <= instant < period.end
    for other in (period.start, period.start + (period.end - period.start) / 2, period.end - SECOND):
        assert calendar.period(unit, other) == period
    assert calendar.period(unit, period.end).start == period.end
    assert calendar.period(unit, period.start - SECOND).end == period.start


@given(calendars, units, instants, st.integers(0, 10_000_000))
def test_periods_cover_a_span_without_gaps(calendar: Calendar, unit: Unit, start: datetime, seconds: int) -> None:
    span = Span(start, start + seconds * SECOND)
    periods = list(islice(calendar.periods(unit, span), 500))
    assert bool(periods) == (seconds > 0)
    assert all(first.end == second.start for first, second in pairwise(periods))
    if periods:
        assert periods[0].start == start
        assert periods[-1].end == span.end or len(periods) == 500
    for period in periods[1:-1]:
        assert period == calendar.period(unit, period.start)


@given(calendars, instants)
def test_days_are_the_dates_that_clocks_show(calendar: Calendar, instant: datetime) -> None:
    day = calendar.date_of(instant)
    assert calendar.start_of(day) <= instant < calendar.start_of(day + timedelta(days=1))
    shown = instant.astimezone(calendar.zone).date()
    if str(calendar.zone) != "America/St_Johns":  # where, until 2011, clocks went back to the day before
        assert day == shown


@given(calendars, instants)
def test_weeks_and_months_are_made_of_days(calendar: Calendar, instant: datetime) -> None:
    week, month = calendar.period(Unit.WEEK, instant), calendar.period(Unit.MONTH, instant)
    assert calendar.date_of(week.start).isoweekday() in (calendar.week_start, calendar.week_start % 7 + 1)
    assert calendar.date_of(month.end) == (calendar.date_of(month.start) + timedelta(days=32)).replace(day=1)
    for period in (week, month):
        days = list(calendar.periods(Unit.DAY, period))
        assert (days[0].start, days[-1].end) == period
        assert all(day == calendar.period(Unit.DAY, day.start) for day in days)


@given(calendars, instants)
def test_hours_begin_where_clocks_show_a_full_hour_or_are_changed(calendar: Calendar, instant: datetime) -> None:
    start, end = calendar.period(Unit.HOUR, instant)
    assert timedelta(0) < end - start <= timedelta(hours=1)
    local = start.astimezone(calendar.zone)
    offset_before = (start - SECOND).astimezone(calendar.zone).utcoffset()
    assert (local.minute, local.second) == (0, 0) or local.utcoffset() != offset_before


@given(calendars, instants, st.sampled_from(Preset))
def test_presets_end_with_today_or_before(calendar: Calendar, now: datetime, preset: Preset) -> None:
    today = calendar.period(Unit.DAY, now)
    span = calendar.preset(preset, now)
    assert span.start < span.end <= today.end
    assert span == calendar.days(calendar.date_of(span.start), calendar.date_of(span.end - SECOND))
    assert (span.end == today.end) == (preset not in (Preset.YESTERDAY, Preset.LAST_WEEK, Preset.LAST_MONTH))


@given(calendars, instants, st.integers(1, 400))
def test_what_comes_before_days_is_as_many_days(calendar: Calendar, instant: datetime, count: int) -> None:
    first = calendar.date_of(instant)
    span = calendar.days(first, first + timedelta(days=count - 1))
    before = calendar.before(span)
    assert before.end == span.start
    assert first - calendar.date_of(before.start) in (timedelta(days=count), timedelta(days=count + 1))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Asia/Kolkata", date(2026, 11, 1), 24),
        ("America/Santiago", date(2026, 9, 6), 23),  # begins at 1:00
        ("Pacific/Apia", date(2011, 12, 30), 0),  # was left out
    ],
)
def test_days_are_as_long_as_clocks_make_them(zone: str, day: date, hours: float) -> None:
    start, end = Calendar(ZoneInfo(zone)).days(day, day)
    assert end - start == timedelta(hours=hours)


def test_the_hours_of_a_day_with_a_change_of_half_an_hour() -> None:
    calendar = Calendar(ZoneInfo("Australia/Lord_Howe"))
    starts = [
        period.start.astimezone(calendar.zone).strftime("%H:%M%z")
        for period in islice(calendar.periods(Unit.HOUR, calendar.days(date(2026, 4, 5), date(2026, 4, 5))), 4)
    ]
    # Half past one comes twice: by summer time it is no beginning, by winter time the change is.
    assert starts == ["00:00+1100", "01:00+1100", "01:30+1030", "02:00+1030"]


def test_a_day_of_25_hours_has_the_hour_that_comes_twice_twice() -> None:
    calendar = Calendar(ZoneInfo("America/New_York"))
    hours = list(calendar.periods(Unit.HOUR, calendar.days(date(2026, 11, 1), date(2026, 11, 1))))
    assert len(hours) == 25
    assert hours[1:3] == [
        Span(at("2026-11-01T01:00:00-04:00"), at("2026-11-01T01:00:00-05:00")),
        Span(at("2026-11-01T01:00:00-05:00"), at("2026-11-01T02:00:00-05:00")),
    ]


@pytest.mark.parametrize(
    ("week_start", "first", "last"),
    [(1, date(2026, 11, 2), date(2026, 11, 8)), (7, date(2026, 11, 1), date(2026, 11, 7))],
)
def test_weeks_begin_on_the_configured_day(week_start: int, first: date, last: date) -> None:
    calendar = Calendar(ZoneInfo("Asia/Kolkata"), week_start)
    wednesday = at("2026-11-04T12:00:00+05:30")
    assert calendar.period(Unit.WEEK, wednesday) == calendar.days(first, last)
    assert calendar.preset(Preset.WEEK, wednesday) == calendar.days(first, date(2026, 11, 4))


@pytest.mark.parametrize(
    ("preset", "first", "last"),
    [
        (Preset.TODAY, date(2026, 3, 1), date(2026, 3, 1)),
        (Preset.YESTERDAY, date(2026, 2, 28), date(2026, 2, 28)),
        (Preset.MONTH, date(2026, 3, 1), date(2026, 3, 1)),
        (Preset.LAST_MONTH, date(2026, 2, 1), date(2026, 2, 28)),
        (Preset.LAST_WEEK, date(2026, 2, 16), date(2026, 2, 22)),
        (Preset.DAYS_7, date(2026, 2, 23), date(2026, 3, 1)),
        (Preset.DAYS_90, date(2025, 12, 2), date(2026, 3, 1)),
    ],
)
def test_presets_are_days_of_the_zone(preset: Preset, first: date, last: date) -> None:
    calendar = Calendar(ZoneInfo("Asia/Kolkata"))
    assert calendar.preset(preset, at("2026-02-28T19:00:00+00:00")) == calendar.days(first, last)


def test_what_comes_before_times_is_as_much_time() -> None:
    calendar = Calendar(ZoneInfo("America/New_York"))
    span = Span(at("2026-11-02T10:00:00+00:00"), at("2026-11-02T11:30:00+00:00"))
    assert calendar.before(span) == Span(at("2026-11-02T08:30:00+00:00"), span.start)
