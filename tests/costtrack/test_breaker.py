"""After a failure a server is left alone for a while; then one caller looks whether it is back."""

import pytest

from costtrack.breaker import Breaker


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("the server", pause_seconds=5, clock=clock)


def test_a_closed_breaker_lets_all_callers_try(breaker: Breaker) -> None:
    assert [breaker.may_try(), breaker.may_try()] == [True, True]
    breaker.worked()
    assert not breaker.is_open


def test_after_a_failure_no_caller_may_try_for_a_while(breaker: Breaker, clock: Clock) -> None:
    breaker.failed(OSError())
    assert breaker.is_open
    clock.seconds += 4.9
    assert not breaker.may_try()


def test_after_the_pause_one_caller_tries_and_the_others_wait_for_it(breaker: Breaker, clock: Clock) -> None:
    breaker.failed(OSError())
    clock.seconds += 5
    assert [breaker.may_try() for _ in range(3)] == [True, False, False]
    breaker.worked()
    assert [breaker.may_try() for _ in range(3)] == [True, True, True]


def test_a_caller_that_never_reports_an_outcome_blocks_others_for_one_pause_only(
    breaker: Breaker, clock: Clock
) -> None:
    breaker.failed(OSError())
    clock.seconds += 5
    assert breaker.may_try()
    clock.seconds += 5
    assert breaker.may_try()


def test_an_outage_is_logged_when_it_begins_and_when_it_is_over(
    breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        breaker.failed(TimeoutError())
        clock.seconds += 5
    breaker.worked()
    breaker.worked()
    assert caplog.messages == ["the server: paused after a failure", "the server: available again"]
    assert [getattr(record, "reason", None) for record in caplog.records] == ["TimeoutError", None]
