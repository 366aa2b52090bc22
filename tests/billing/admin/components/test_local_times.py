"""Times of the organization's clocks in addresses: written and read back, also where clocks are changed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django import forms

from billing.admin.components.datetimes import span_name, url_time
from billing.admin.components.form_fields import TimeField, TimeInput
from costtrack.calendar import Calendar, Span, Unit

BERLIN = Calendar(ZoneInfo("Europe/Berlin"))
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/Havana", "Africa/Cairo")


def field(calendar: Calendar = BERLIN) -> TimeField:
    made = TimeField(label="From time")
    made.calendar = calendar
    return made


@pytest.mark.parametrize("zone", ZONES)
def test_every_hour_of_a_year_is_read_as_it_was_written(zone: str) -> None:
    calendar = Calendar(ZoneInfo(zone))
    year = Span(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    hours = list(calendar.periods(Unit.HOUR, year))
    texts = [url_time(hour.start, calendar) for hour in hours]
    assert [field(calendar).clean(text) for text in texts] == [hour.start for hour in hours]
    assert len(set(texts)) == len(hours)


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-10-25T02:00", 0),  # the first of the two
        ("2026-10-25T02:00+02:00", 0),
        ("2026-10-25T02:00 02:00", 0),  # a plus that was not escaped
        ("2026-10-25T02:00+01:00", 1),
        ("2026-10-25T03:00", 2),
        ("2026-10-25 03:00", 2),
        (" 2026-10-25T03:00:00 ", 2),
        ("2026-10-25T02:00Z", 2),
    ],
)
def test_an_hour_that_clocks_show_twice_is_shown_with_its_offset(text: str, hour: int) -> None:
    assert field().clean(text) == datetime(2026, 10, 25, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soon", "such as 2026-11-20T14:00"),
        ("2026-13-01T00:00", "such as"),
        ("2026-11-20T25:00", "such as"),
        ("2026-11-20T14:00+99:00", "such as"),
        ("\0", "such as"),
        ("9" * 5000, "such as"),
        ("0001-01-01T00:00+05:00", "such as"),
        ("9999-12-31T23:59-12:00", "such as"),
        ("1999-12-31T23:59", "from 2000 to 2199"),
        ("2200-01-02T00:00", "from 2000 to 2199"),
        ("2026-03-29T02:30", "This time does not exist"),
    ],
)
def test_what_is_no_time_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(forms.ValidationError, match=message):
        field().clean(text)


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_an_empty_field_is_no_time(nothing: str | None) -> None:
    assert field().clean(nothing) is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("", "datetime-local"),
        ("2026-11-20T14:00", "datetime-local"),
        ("2026-10-25T02:00+01:00", "text"),
        ("2026-11-20 14:00", "text"),
        ("soon", "text"),
    ],
)
def test_browsers_show_their_own_control_for_what_it_can_hold(value: str, kind: str) -> None:
    assert f'type="{kind}"' in TimeInput().render("start", value)


def test_a_span_is_named_as_clocks_show_it() -> None:
    afternoon = Span(datetime(2026, 11, 20, 13, tzinfo=UTC), datetime(2026, 11, 20, 14, tzinfo=UTC))
    assert span_name(afternoon, BERLIN) == "Nov 20, 2026, 2:00 PM to 3:00 PM"
    assert span_name(afternoon, BERLIN, with_day=False) == "2:00 PM to 3:00 PM"
    last = Span(datetime(2026, 11, 20, 22, tzinfo=UTC), datetime(2026, 11, 20, 23, tzinfo=UTC))
    assert span_name(last, BERLIN) == "Nov 20, 2026, 11:00 PM to 12:00 AM"
    two_days = Span(last.start, last.end + timedelta(hours=1))
    assert span_name(two_days, BERLIN) == "Nov 20, 2026, 11:00 PM to Nov 21, 2026, 1:00 AM"
    twice = Span(datetime(2026, 10, 25, 0, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC))
    assert span_name(twice, BERLIN) == "Oct 25, 2026, 2:00 AM (UTC+0200) to 2:00 AM (UTC+0100)"
