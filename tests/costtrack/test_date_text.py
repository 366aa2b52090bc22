"""Dates and times as people read them."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from django.template import Context, Template

from costtrack import date_text

AT = datetime(2026, 11, 30, 13, 5, 7, 999_999, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def test_times_are_written_in_english_with_the_zone_if_it_is_said() -> None:
    assert date_text.time_text(AT, BERLIN) == "Nov 30, 2026, 2:05:07 PM"
    assert date_text.time_text(date_text.full_second(AT), BERLIN) == "Nov 30, 2026, 2:05:08 PM"
    assert date_text.zoned_time_text(AT.replace(second=0), BERLIN) == "Nov 30, 2026, 2:05 PM (Europe/Berlin)"
    assert date_text.utc_text(AT.replace(second=0, hour=0)) == "Nov 30, 2026, 12:05 AM UTC"


def test_hours_of_charts_are_short() -> None:
    assert [date_text.hour_text(time(hour)) for hour in (0, 9, 12, 22)] == ["12 AM", "9 AM", "12 PM", "10 PM"]
    assert date_text.hour_text(time(2, 30)) == "2:30 AM"


def test_several_days_have_their_year_once() -> None:
    second = date(2026, 11, 2)
    assert date_text.days_text(second, second) == "Nov 2, 2026"
    assert date_text.days_text(second, date(2026, 11, 8)) == "Nov 2 to Nov 8, 2026"
    assert date_text.days_text(date(2025, 12, 30), second) == "Dec 30, 2025 to Nov 2, 2026"


def test_templates_write_the_same() -> None:
    template = Template('{{ at|date:"DATETIME_FORMAT" }}; {{ at|date }}; {{ at|time }}; {{ at }}')
    at = AT.replace(second=0)
    expected = (
        date_text.time_text(at, UTC),
        date_text.day_text(at),
        date_text.clock_text(at),
        date_text.time_text(at, UTC),
    )
    assert template.render(Context({"at": at})) == "; ".join(expected)
