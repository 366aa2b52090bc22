"""How the pages write instants: how far away, and on the organization's clocks."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from billing.admin.components import datetimes
from costtrack.calendar import Calendar
from tests.usage import NOW

BERLIN = Calendar(ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (timedelta(0), "now"),
        (timedelta(seconds=1), "now"),
        (timedelta(seconds=30), "in 30 seconds"),
        (timedelta(minutes=1), "in 1 minute"),
        (timedelta(minutes=40), "in 40 minutes"),
        (timedelta(hours=2, minutes=5), "in 2 hours 5 minutes"),
        (timedelta(hours=5, minutes=50), "in 6 hours"),
        (timedelta(days=1, hours=4), "in 1 day 4 hours"),
        (timedelta(days=2), "in 2 days"),
        (timedelta(days=6, hours=23, minutes=59), "in 7 days"),
        (-timedelta(hours=3), "3 hours ago"),
    ],
)
def test_how_far_away_an_instant_is(distance: timedelta, expected: str) -> None:
    assert datetimes.relative(NOW + distance, NOW) == expected


def test_an_instant_is_written_as_the_organizations_clocks_show_it() -> None:
    assert datetimes.exact(NOW, BERLIN.zone) == "Nov 2, 2026, 1:00 PM"
    summer = NOW.replace(month=7)
    assert datetimes.exact(summer, BERLIN.zone) == "Jul 2, 2026, 2:00 PM"


def test_what_is_said_to_be_over_then_is_over() -> None:
    late = NOW + timedelta(seconds=6, microseconds=1)
    assert datetimes.exact(late, BERLIN.zone) == "Nov 2, 2026, 1:00:07 PM"
    assert datetimes.exact(late - timedelta(microseconds=1), BERLIN.zone) == "Nov 2, 2026, 1:00:06 PM"


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (timedelta(hours=3), "today 4 PM"),
        (timedelta(hours=12), "Tue 1 AM"),
        (timedelta(days=6), "Sun 1 PM"),
        (timedelta(days=7), "Nov 9, 1 PM"),
        (-timedelta(days=1), "Nov 1, 1 PM"),
        (timedelta(days=365), "Nov 2027"),
    ],
)
def test_a_time_of_the_coming_days_is_short(distance: timedelta, expected: str) -> None:
    assert datetimes.LocalTimes(BERLIN, NOW).short_text(NOW + distance) == expected
