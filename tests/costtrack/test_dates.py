"""Dates and times as users write them: days of a time zone, half-open windows, and what is refused."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costtrack.calendar import Calendar
from costtrack.clock import iso
from costtrack.dates import NonexistentTimeError, parse_day, parse_end, parse_start
from tests.profiles import examples

ZONES = (
    *("UTC", "America/New_York", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Auckland", "Pacific/Kiritimati"),
    *("America/Sao_Paulo", "America/Havana", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia"),
)
AUCKLAND = Calendar(ZoneInfo("Pacific/Auckland"))


@pytest.mark.parametrize(
    ("zone", "day", "start", "end"),
    [
        ("UTC", "2026-11-15", "2026-11-15T00:00:00Z", "2026-11-16T00:00:00Z"),
        ("Pacific/Auckland", "2026-11-15", "2026-11-14T11:00:00Z", "2026-11-15T11:00:00Z"),
        ("America/Los_Angeles", "2026-12-31", "2026-12-31T08:00:00Z", "2027-01-01T08:00:00Z"),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),  # 25 hours
        ("America/New_York", "2026-03-08", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"),  # 23 hours
        ("America/Havana", "2026-03-08", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"),  # midnight does not exist
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"),  # 23.5 hours
    ],
)
def test_a_date_is_a_whole_day_of_the_zone(zone: str, day: str, start: str, end: str) -> None:
    calendar = Calendar(ZoneInfo(zone))
    assert (iso(parse_start(day, calendar)), iso(parse_end(day, calendar))) == (start, end)


@given(zone=st.sampled_from(ZONES), days=st.lists(st.dates(date(2000, 1, 2), date(2060, 1, 1)), min_size=2, max_size=6))
@examples(100)
def test_neighboring_days_share_their_border(zone: str, days: list[date]) -> None:
    calendar = Calendar(ZoneInfo(zone))
    for day in days:
        assert parse_end(day.isoformat(), calendar) == parse_start((day + timedelta(days=1)).isoformat(), calendar)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11-02T09:00:00Z", "2026-11-02T09:00:00Z", "2026-11-02T09:00:00Z"),
        ("2026-11-02t09:00:00z", "2026-11-02T09:00:00Z", "2026-11-02T09:00:00Z"),
        ("2026-11-02 09:00", "2026-11-02T09:00:00Z", "2026-11-02T09:00:00Z"),
        ("2026-11-02T09:00:00 01:00", "2026-11-02T08:00:00Z", "2026-11-02T08:00:00Z"),  # a "+" in a query string
        ("2026-11-02T09:00:00.5+0530", "2026-11-02T03:30:00.500000Z", "2026-11-02T03:30:00.500000Z"),
        ("2026-11-02T23:59:59", "2026-11-02T23:59:59Z", "2026-11-03T00:00:00Z"),
        ("2026-11-02 23:59:59", "2026-11-02T23:59:59Z", "2026-11-03T00:00:00Z"),
        ("2026-11-02T23:59:59.999Z", "2026-11-02T23:59:59.999000Z", "2026-11-03T00:00:00Z"),
        ("2026-11-02T23:59:59.999999-08:00", "2026-11-03T07:59:59.999999Z", "2026-11-03T08:00:00Z"),
        ("2026-11-02T23:59:58.999999Z", "2026-11-02T23:59:58.999999Z", "2026-11-02T23:59:58.999999Z"),
        ("9999-12-31", "9999-12-30T11:00:00Z", "9999-12-30T11:00:00Z"),  # the last day has no next one
    ],
)
def test_times_are_exact_and_the_last_second_of_a_day_is_included(text: str, start: str, end: str) -> None:
    assert (iso(parse_start(text, AUCKLAND)), iso(parse_end(text, AUCKLAND))) == (start, end)


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "2026-W48", "2026-W48-1", "2026W481", "2026-W48-1T10:00:00Z", "2026-332", "20261102", "2026-11"),
        *("2026-1-2", "2026-13-01", "2026-02-29", "2026-11-02T24:00", "2026-11-02T10", "2026-11-02T10:60"),
        *(
            "2026-11-02T23:59:60Z",
            "2026-11-02T10:00+99:00",
            "1764288000",
            "٢٠٢٦-11-02",
            "2026-11-02T10:00 UTC",
            "0000-01-01",
        ),
        *("0001-01-01T00:00+14:00", "2026-11-02\n2026-11-03", "2026-11-02T10:00:00.Z"),
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    for parse in (parse_start, parse_end):
        with pytest.raises(ValueError):  # noqa: PT011 - callers have their own messages
            parse(text, AUCKLAND)


def test_a_day_is_written_in_one_way() -> None:
    assert parse_day("2026-11-02") == date(2026, 11, 2)
    for text in ("2026-W48", "20261102", "2026-11-02T00:00", ""):
        with pytest.raises(ValueError, match=r"date|isoformat"):
            parse_day(text)


def test_times_without_an_offset_are_utc_or_local_where_a_page_says_so() -> None:
    zone = ZoneInfo("America/New_York")
    calendar = Calendar(zone)
    assert parse_start("2026-11-02T09:00", calendar) == datetime(2026, 11, 2, 9, tzinfo=UTC)
    assert parse_start("2026-11-02T09:00", calendar, zone) == datetime(2026, 11, 2, 14, tzinfo=UTC)
    assert parse_end("2026-11-02T23:59:59", calendar, zone) == datetime(2026, 11, 3, 5, tzinfo=UTC)
    with pytest.raises(NonexistentTimeError):
        parse_start("2026-03-08T02:30", calendar, zone)
