"""Who answers for which part of a window. (That the answers are right is tested through the endpoints.)"""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.reports.buckets import plan_sources
from billing.rollups.definitions import ORGANIZATION_HOURS, USAGE_DAYS, USAGE_HOURS, Rollup
from costtrack.calendar import Window

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 11, 1, tzinfo=UTC)

# Boundaries in order; a window between two neighbors, or none.
boundaries = st.lists(
    st.one_of(
        st.integers(0, 72).map(lambda hours: START + hours * HOUR),
        st.integers(0, 72 * 60).map(lambda minutes: START + timedelta(minutes=minutes)),
    ),
    min_size=2,
    max_size=8,
    unique=True,
).map(sorted)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@given(boundaries, st.data(), st.sampled_from(((USAGE_DAYS, USAGE_HOURS), (ORGANIZATION_HOURS,))))
def test_every_moment_is_answered_for_once(
    instants: list[datetime], data: st.DataObject, levels: tuple[Rollup, ...]
) -> None:
    windows = [Window(*pair) for pair in pairwise(instants) if data.draw(st.booleans())]
    covered: dict[datetime, int] = {}
    for source in plan_sources(windows, levels):
        for window in source.windows:
            assert window.start is not None
            assert window.end is not None
            if source.rollup is not None:
                size = DAY if source.rollup is USAGE_DAYS else HOUR
                assert (window.start - START) % size == (window.end - START) % size == timedelta(0)
            for minute in range(int((window.end - window.start) / timedelta(minutes=1))):
                minute_start = window.start + timedelta(minutes=minute)
                covered[minute_start] = covered.get(minute_start, 0) + 1
    filters = {
        START + timedelta(minutes=minute)
        for minute in range(72 * 60)
        if any(
            item.start <= START + timedelta(minutes=minute) < item.end for item in windows if item.start and item.end
        )
    }
    assert covered == dict.fromkeys(filters, 1)


def test_the_coarsest_answers_for_what_it_can() -> None:
    window = Window(at("2026-11-01T22:30:00Z"), at("2026-11-04T02:15:00Z"))
    result = {source.rollup: source.windows for source in plan_sources([window], (USAGE_DAYS, USAGE_HOURS))}
    assert result == {
        USAGE_DAYS: (Window(at("2026-11-02T00:00:00Z"), at("2026-11-04T00:00:00Z")),),
        USAGE_HOURS: (
            Window(at("2026-11-01T23:00:00Z"), at("2026-11-02T00:00:00Z")),
            Window(at("2026-11-04T00:00:00Z"), at("2026-11-04T02:00:00Z")),
        ),
        None: (
            Window(at("2026-11-01T22:30:00Z"), at("2026-11-01T23:00:00Z")),
            Window(at("2026-11-04T02:00:00Z"), at("2026-11-04T02:15:00Z")),
        ),
    }


@pytest.mark.parametrize("window", [Window(), Window(start=START), Window(end=START)])
def test_a_window_may_be_open(window: Window) -> None:
    assert [(source.rollup, source.windows) for source in plan_sources([window], (USAGE_DAYS, USAGE_HOURS))] == [
        (USAGE_DAYS, (window,))
    ]
