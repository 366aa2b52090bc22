"""Threshold events, by the state of a limit: what is written, and what is notified. Without the database."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from billing.limits.threshold_events import (
    Cause,
    LimitSnapshot,
    ReachedThreshold,
    lowest_threshold_usd,
    reached_thresholds,
)
from billing.types import LimitAction, LimitWindow
from costtrack.calendar import Calendar, Window
from tests.billing.limits.threshold_event_log import ThresholdEventLog, opened, paused, rule_of
from tests.usage import NOW

UTC = Calendar(ZoneInfo("UTC"))
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
ROLLING = rule_of(LimitWindow.ROLLING_7D)
EVERY_WINDOW = pytest.mark.parametrize("window", list(LimitWindow))


@pytest.fixture
def log() -> ThresholdEventLog:
    """10 USD a calendar week, on its Monday at noon; warnings at 80 and 95 percent."""
    return ThresholdEventLog(UTC)


@pytest.fixture
def rolling() -> ThresholdEventLog:
    return ThresholdEventLog(UTC, ROLLING)


@EVERY_WINDOW
def test_each_threshold_is_reported_once_on_the_way_up(window: LimitWindow) -> None:
    log = ThresholdEventLog(UTC, rule_of(window))
    assert log.spent("7.999999") == []
    assert log.spent("8") == ["threshold_reached 80"]
    assert log.spent("9") == []
    assert log.spent("9.5") == ["threshold_reached 95"]
    assert log.spent("9.999999999999999999999999") == []
    assert log.spent("10") == ["paused 100"]
    assert log.spent("11") == log.spent("11", after=HOUR) == []
    assert log.open() == [80, 95, 100]


@EVERY_WINDOW
def test_one_step_over_several_thresholds_writes_all_and_reports_the_highest(window: LimitWindow) -> None:
    log = ThresholdEventLog(UTC, rule_of(window))
    assert log.spent("12.5") == ["paused 100"]
    assert log.open() == [80, 95, 100]


def test_a_limit_that_only_notifies_is_exceeded(log: ThresholdEventLog) -> None:
    assert log.spent("8", action=LimitAction.NOTIFY) == ["threshold_reached 80"]
    assert log.spent("10") == ["exceeded 100"]
    assert log.spent("7") == []
    assert log.spent("10") == []


def test_the_soft_amount_is_a_threshold_where_it_lies(log: ThresholdEventLog) -> None:
    assert log.spent("5", soft_amount_usd=rule_of(amount_usd=5).amount_usd) == ["threshold_reached 0"]
    assert log.spent("8.1") == ["threshold_reached 80"]
    assert ThresholdEventLog(UTC, log.rule).spent("9") == ["threshold_reached 80"]
    high = rule_of(soft_amount_usd=rule_of(amount_usd=9).amount_usd)
    assert ThresholdEventLog(UTC, high).spent("9.2") == ["threshold_reached 0"]
    # At the same amount the percents are more telling.
    same = rule_of(soft_amount_usd=rule_of(amount_usd=8).amount_usd)
    assert ThresholdEventLog(UTC, same).spent("8") == ["threshold_reached 80"]


def test_another_soft_amount_is_another_threshold_event(log: ThresholdEventLog) -> None:
    log.spent("5", soft_amount_usd=rule_of(amount_usd=4).amount_usd)
    assert log.spent("5", soft_amount_usd=rule_of(amount_usd=6).amount_usd) == []
    assert log.open() == []
    assert log.spent("6") == ["threshold_reached 0"]


def test_the_whole_amount_counts_also_where_no_threshold_says_so() -> None:
    log = ThresholdEventLog(UTC, rule_of(thresholds=(50,)))
    assert lowest_threshold_usd(log.rule) == 5
    assert log.spent("10") == ["paused 100"]
    assert log.open() == [50, 100]


# --- Falling and rising ------------------------------------------------------------------------------------------


def test_spend_that_is_corrected_brings_access_back_once(log: ThresholdEventLog) -> None:
    log.spent("10")
    assert log.spent("9.6") == ["resumed 100"]
    assert log.open() == [80, 95]
    assert log.spent("10") == []
    assert log.open() == [80, 95, 100]
    assert log.rows[-1].times == 2
    assert log.spent("1") == []
    assert log.open() == []


def test_a_calendar_window_that_moves_on_resolves_and_resumes(log: ThresholdEventLog) -> None:
    log.spent("10")
    assert log.spent("0", after=WEEK) == ["resumed 100"]
    assert log.open() == []
    assert log.spent("10", after=HOUR) == ["paused 100"]
    assert len(log.rows) == 6


def test_a_new_window_that_is_full_already_stays_paused_and_says_so(log: ThresholdEventLog) -> None:
    log.spent("10")
    assert log.spent("12", after=WEEK) == ["paused 100"]


def test_a_new_window_that_begins_near_the_limit_reports_both(log: ThresholdEventLog) -> None:
    log.spent("10")
    assert log.spent("8", after=WEEK) == ["resumed 100", "threshold_reached 80"]


def test_of_a_lifetime_no_window_moves_on() -> None:
    log = ThresholdEventLog(UTC, rule_of(LimitWindow.LIFETIME))
    assert log.spent("10") == ["paused 100"]
    assert log.spent("10", after=400 * DAY) == []
    assert {row.window_key for row in log.rows} == {"lifetime"}


def test_a_rolling_window_reports_again_after_24_hours_and_not_before(rolling: ThresholdEventLog) -> None:
    assert rolling.spent("8") == ["threshold_reached 80"]
    assert rolling.spent("7", after=HOUR) == []
    assert rolling.spent("8", after=HOUR) == []
    assert [row.times for row in rolling.rows] == [2]
    assert rolling.spent("7", after=HOUR) == []
    assert rolling.spent("8", after=20 * HOUR + timedelta(minutes=59)) == []
    assert rolling.spent("7") == []
    assert rolling.spent("8", after=timedelta(minutes=1)) == ["threshold_reached 80"]
    assert len(rolling.rows) == 2


def test_a_rolling_window_resumes_as_often_as_it_has_reported_a_pause(rolling: ThresholdEventLog) -> None:
    assert rolling.spent("10") == ["paused 100"]
    assert rolling.spent("9", after=HOUR) == ["resumed 100"]
    assert rolling.spent("10", after=HOUR) == []
    assert rolling.spent("9", after=HOUR) == []
    assert rolling.spent("10", after=DAY) == ["paused 100"]
    assert rolling.spent("9", after=DAY) == ["resumed 100"]


# --- Changes of the limit ----------------------------------------------------------------------------------------


def test_a_raise_resumes_and_its_end_pauses_again(log: ThresholdEventLog) -> None:
    log.spent("10")
    assert log.spent("10", amount_usd=20) == ["resumed 100"]
    assert log.open() == []
    assert log.spent("16", after=HOUR) == ["threshold_reached 80"]
    # People were notified that access is back, so they must be notified when it is not.
    assert log.spent("16", after=HOUR, amount_usd=10) == ["paused 100"]
    assert log.open() == [80, 95, 100]
    assert log.spent("0", after=WEEK) == ["resumed 100"]


def test_a_raise_of_a_rolling_limit_and_its_end(rolling: ThresholdEventLog) -> None:
    rolling.spent("10")
    assert rolling.spent("10", amount_usd=20) == ["resumed 100"]
    assert rolling.spent("10", amount_usd=10) == ["paused 100"]
    assert rolling.spent("10", after=HOUR, amount_usd=20) == ["resumed 100"]
    assert rolling.spent("10", after=HOUR, amount_usd=10) == ["paused 100"]


def test_a_raise_that_leaves_spend_above_the_threshold_warns_of_nothing_new(log: ThresholdEventLog) -> None:
    assert log.spent("9") == ["threshold_reached 80"]
    assert log.spent("9", amount_usd=11) == []
    assert log.open() == [80]
    assert log.spent("9", amount_usd=10) == []
    assert log.spent("9", amount_usd=20) == []
    assert log.open() == []
    assert log.spent("9", amount_usd=10) == ["threshold_reached 80"]


def test_a_raise_that_is_not_enough_reports_that_the_pause_continues(log: ThresholdEventLog) -> None:
    log.spent("12")
    assert log.spent("12", amount_usd=11) == ["paused 100"]
    assert log.spent("12", amount_usd=15) == ["resumed 100"]


def test_lowering_pauses_at_once(log: ThresholdEventLog) -> None:
    assert log.spent("8.5") == ["threshold_reached 80"]
    assert log.spent("8.5", amount_usd=8) == ["paused 100"]
    assert log.open() == [80, 95, 100]


def test_a_threshold_that_is_removed_is_resolved_and_a_new_one_is_reported(log: ThresholdEventLog) -> None:
    log.spent("8")
    assert log.spent("8", thresholds=(50, 100)) == ["threshold_reached 50"]
    assert log.open() == [50]


def test_a_limit_that_begins_to_pause_says_so_and_one_that_ceases_too(log: ThresholdEventLog) -> None:
    assert log.spent("10", action=LimitAction.NOTIFY) == ["exceeded 100"]
    assert log.spent("10", action=LimitAction.PAUSE) == ["paused 100"]
    assert log.spent("10", action=LimitAction.NOTIFY) == ["resumed 100"]
    assert log.spent("10", action=LimitAction.PAUSE) == ["paused 100"]


def test_a_limit_that_goes_brings_access_back(log: ThresholdEventLog) -> None:
    log.spent("9")
    assert log.goes() == []
    assert log.open() == []
    assert log.spent("10") == ["paused 100"]
    assert log.goes() == ["resumed 100"]
    assert log.goes() == []


# --- By hand -----------------------------------------------------------------------------------------------------


@EVERY_WINDOW
def test_a_manual_pause_is_reported_once_and_its_end_too(window: LimitWindow) -> None:
    log = ThresholdEventLog(UTC, rule_of(window))
    assert log.spent("1", manual_override=paused()) == ["paused 100"]
    assert log.spent("1", after=40 * DAY) == []
    assert log.spent("9", amount_usd=11) == ["threshold_reached 80"]
    assert log.spent("9", manual_override=None) == ["resumed 100"]
    assert log.spent("9", manual_override=paused()) == ["paused 100"]
    assert next(row.window_key for row in log.rows if row.threshold == 100).startswith("by hand ")


def test_a_limit_that_only_notifies_can_be_paused_by_hand(log: ThresholdEventLog) -> None:
    assert log.spent("12", action=LimitAction.NOTIFY) == ["exceeded 100"]
    assert log.spent("12", manual_override=paused()) == ["paused 100"]
    assert log.spent("12", manual_override=None) == ["resumed 100"]


def test_a_manual_pause_over_one_by_spend_is_reported_and_what_is_left_of_it(log: ThresholdEventLog) -> None:
    assert log.spent("10") == ["paused 100"]
    assert log.spent("10", manual_override=paused()) == ["paused 100"]
    assert log.spent("11", after=HOUR) == []
    # The reason and the end are others now.
    assert log.spent("11", manual_override=None) == ["paused 100"]
    assert log.spent("0", after=WEEK) == ["resumed 100"]


def test_what_is_reached_while_paused_manually_is_reported_when_that_ends(log: ThresholdEventLog) -> None:
    assert log.spent("1", manual_override=paused()) == ["paused 100"]
    assert log.spent("12") == ["threshold_reached 95"]
    assert log.spent("12", manual_override=None) == ["paused 100"]


def test_opening_by_hand_resumes_and_its_end_pauses_again(log: ThresholdEventLog) -> None:
    log.spent("10")
    assert log.spent("10", manual_override=opened()) == ["resumed 100"]
    assert log.spent("15", after=HOUR) == []
    assert log.spent("15", manual_override=None) == ["paused 100"]
    assert log.spent("15", manual_override=opened()) == ["resumed 100"]


def test_what_is_reached_while_open_by_hand_is_exceeded(log: ThresholdEventLog) -> None:
    assert log.spent("10", manual_override=opened()) == ["exceeded 100"]
    assert log.spent("10", manual_override=None) == ["paused 100"]


def test_a_pause_for_all_values_is_not_reported_for_each() -> None:
    rule = rule_of(is_per_value=True, manual_override=paused())
    span = Window(NOW - HOUR, NOW + HOUR)
    each = LimitSnapshot(rule, rule.amount_usd, span, NOW, is_paused_for_all=True)
    assert reached_thresholds(each)[-1] == ReachedThreshold(100, Cause.REACHED, rule.amount_usd)
    assert reached_thresholds(LimitSnapshot(rule, rule.amount_usd - 9, span, NOW, is_paused_for_all=True)) == []
    assert reached_thresholds(LimitSnapshot(rule, None, span, NOW)) == [
        ReachedThreshold(100, Cause.MANUAL, rule.amount_usd)
    ]


def test_what_ends_under_a_pause_for_all_values_is_not_reported_as_resumed(log: ThresholdEventLog) -> None:
    log.rule = rule_of(is_per_value=True, value="ada", display_value="ada")
    assert log.spent("10") == ["paused 100"]
    log.now += WEEK
    week = Window(log.now - HOUR, log.now + HOUR)
    rule = rule_of(is_per_value=True, value="ada", display_value="ada", manual_override=paused())
    assert log.take(LimitSnapshot(rule, rule.amount_usd - 10, week, log.now, is_paused_for_all=True)) == []
    assert log.open() == []
