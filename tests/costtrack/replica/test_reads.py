"""What a process knows about a replica from the positions that it has noted."""

from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from costtrack.clock import reading_as_of, utc_now
from costtrack.replica.reads import Positions

START = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
def positions(settings: Settings) -> Positions:
    settings.REPLICA_MAX_LAG = 10
    return Positions()


def test_a_replica_is_complete_until_the_newest_position_that_it_has_reached(positions: Positions) -> None:
    positions.note(100, after(1))
    positions.note(200, after(2))
    positions.note(300, after(3))

    assert positions.complete_until(99) is None
    assert positions.complete_until(250) == after(2)
    assert positions.complete_until(250) == after(2)
    assert positions.complete_until(300) == after(3)


def test_it_is_complete_until_now_while_nothing_is_written(positions: Positions) -> None:
    positions.note(100, after(1))
    positions.note(100, after(2))

    assert positions.complete_until(100) == after(2)


def test_what_is_further_behind_than_allowed_is_not_used(positions: Positions) -> None:
    positions.note(100, after(0))
    positions.note(200, after(10))
    assert positions.complete_until(100) == after(0)

    positions.note(300, after(11))
    assert positions.complete_until(100) is None
    assert positions.complete_until(200) == after(10)


def test_now_is_the_time_that_is_read() -> None:
    with reading_as_of(START):
        assert utc_now() == START
    assert utc_now() > START
