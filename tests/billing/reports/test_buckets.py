"""Windows and time buckets: nothing of a window is left out, and nothing counts twice."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.reports.buckets import Split, split
from costtrack.calendar import Window
from costtrack.clock import DAY

HOUR = timedelta(hours=1)

instants = st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 5), timezones=st.just(UTC))  # noqa: DTZ001
near_boundaries = st.builds(
    lambda hours, seconds: datetime(2026, 1, 2, tzinfo=UTC) + timedelta(hours=hours, seconds=seconds),
    st.integers(-30, 30),
    st.integers(-1, 1),
)


@given(
    st.one_of(st.none(), instants, near_boundaries),
    st.one_of(st.none(), instants, near_boundaries),
    st.sampled_from([HOUR, DAY]),
    st.one_of(instants, near_boundaries),
)
def test_every_instant_of_a_window_is_in_one_part_of_it(
    start: datetime | None, end: datetime | None, bucket: timedelta, instant: datetime
) -> None:
    parts = split(Window(start, end), bucket)
    windows = [*([parts.buckets] if parts.buckets is not None else []), *parts.edges]

    in_window = (start is None or start <= instant) and (end is None or instant < end)
    assert sum(_has(window, instant) for window in windows) == in_window
    assert all(edge.end - edge.start < bucket * 2 for edge in parts.edges if edge.start and edge.end)


def _has(window: Window, instant: datetime) -> bool:
    return (window.start is None or window.start <= instant) and (window.end is None or instant < window.end)


@pytest.mark.parametrize("bucket", [HOUR, DAY])
def test_whole_days_need_no_edges(bucket: timedelta) -> None:
    days = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))

    assert split(days, bucket) == Split(days, ())
    assert split(Window(), bucket) == Split(Window(), ())


def test_what_a_window_cuts_off_an_hour_is_an_edge() -> None:
    def at(hour: int, minute: int) -> datetime:
        return datetime(2026, 1, 1, hour, minute, tzinfo=UTC)

    assert split(Window(at(1, 30), at(4, 15)), HOUR) == Split(
        Window(at(2, 0), at(4, 0)), (Window(at(1, 30), at(2, 0)), Window(at(4, 0), at(4, 15)))
    )
    assert split(Window(at(1, 30), at(1, 45)), HOUR) == Split(None, (Window(at(1, 30), at(1, 45)),))
    assert split(Window(at(1, 30), at(2, 15)), HOUR) == Split(None, (Window(at(1, 30), at(2, 15)),))
