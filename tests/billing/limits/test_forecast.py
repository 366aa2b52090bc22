"""When a limit will be hit at the rate of late: by its definition, for random usage under every kind of window."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.limits.forecast import forecast
from billing.limits.types import Balance, Bucket, Period, Rule
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.calendar import Calendar
from tests.billing.limits.oracle import ROLLING, Oracle
from tests.profiles import examples

MOMENT, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 10, 22, 9, 30, tzinfo=UTC)  # a Thursday, three days before clocks go back in Berlin
BERLIN = Calendar(ZoneInfo("Europe/Berlin"))
TEN_YEARS = timedelta(days=3653)


def rule(window: LimitWindow, amount: str | Decimal = "10", **others: object) -> Rule:
    terms = {"base_amount_usd": Decimal(amount), **others}
    return Rule(
        limit_id=1,
        scope=LimitScope.ORGANIZATION,
        value="",
        display_value="",
        is_per_value=False,
        window=window,
        amount_usd=Decimal(amount),
        action=LimitAction.PAUSE,
        thresholds=(80, 95, 100),
        **terms,  # type: ignore[arg-type] # as the tests name them
    )


def spent(*events: tuple[datetime, str]) -> Balance:
    return Balance(tuple(sorted(Bucket(at, at, Decimal(usd)) for at, usd in events)))


def ask(about: Rule, balance: Balance, recent: str | Decimal, now: datetime = NOW) -> datetime | None:
    return forecast(about, balance, recent_usd=Decimal(recent), calendar=BERLIN, now=now)


@pytest.mark.parametrize("window", LimitWindow)
def test_nothing_is_foreseen_without_a_rate_or_once_it_is_reached(window: LimitWindow) -> None:
    assert ask(rule(window), spent(), "0") is None
    assert ask(rule(window), spent((NOW - HOUR, "-1")), "-1") is None
    assert ask(rule(window), spent((NOW - HOUR, "10")), "10") is None


def test_over_a_lifetime_it_is_what_is_left_at_the_rate_of_a_day() -> None:
    assert ask(rule(LimitWindow.LIFETIME), spent((NOW - 30 * DAY, "6")), "2") == NOW + 2 * DAY
    assert ask(rule(LimitWindow.LIFETIME), spent((NOW - 30 * DAY, "6")), "3") == NOW + DAY * 4 / 3
    assert ask(rule(LimitWindow.LIFETIME), spent(), "0.000000000000000000000001") is None
    assert ask(rule(LimitWindow.LIFETIME), spent(), "0.0028") is not None


def test_a_calendar_window_may_end_before() -> None:
    month = spent((NOW - 10 * DAY, "6"))
    assert ask(rule(LimitWindow.CALENDAR_MONTH), month, "1") == NOW + 4 * DAY
    # Until the first of November there are 9 days and 14.5 hours: an hour more than usual.
    end = datetime(2026, 10, 31, 23, tzinfo=UTC)
    days = Decimal((end - NOW) // MOMENT) / (DAY // MOMENT)
    assert ask(rule(LimitWindow.CALENDAR_MONTH, 6 + days), month, "1") is None
    assert ask(rule(LimitWindow.CALENDAR_MONTH, 6 + days - Decimal("0.001")), month, "1") is not None


def test_a_young_window_has_a_rate_of_its_own() -> None:
    """It is 11:30 in Berlin; what was spent yesterday does not count."""
    midnight = datetime(2026, 10, 21, 22, tzinfo=UTC)
    today = spent((midnight + HOUR, "5"))
    for yesterday_too in ("5", "100"):
        assert ask(rule(LimitWindow.CALENDAR_DAY), today, yesterday_too) == NOW + (NOW - midnight)
    assert ask(rule(LimitWindow.CALENDAR_DAY), spent((midnight + HOUR, "4")), "100") is None  # the day ends before
    assert ask(rule(LimitWindow.CALENDAR_DAY), spent((midnight, "1")), "100", now=midnight) is None


def test_what_leaves_a_rolling_window_raises_what_remains() -> None:
    """At 3 a day the missing 2 are there in 16 hours; but in 12 hours 5 leave, which takes 40 hours more."""
    old = NOW - 7 * DAY + 12 * HOUR
    balance = spent((old, "5"), (NOW - HOUR, "3"))
    assert ask(rule(LimitWindow.ROLLING_7D), spent((NOW - HOUR, "8")), "3") == NOW + 16 * HOUR
    assert ask(rule(LimitWindow.ROLLING_7D), balance, "3") == NOW + 56 * HOUR
    assert ask(rule(LimitWindow.ROLLING_7D), spent((NOW - HOUR, "1")), "1") is None


def test_a_raise_that_ends_lowers_what_remains() -> None:
    until = NOW + 2 * DAY
    raised = {"base_amount_usd": Decimal(10), "raised_until": until}
    balance = spent((NOW - 40 * DAY, "9"))
    assert ask(rule(LimitWindow.LIFETIME, "20", **raised), balance, "2") == until
    assert ask(rule(LimitWindow.LIFETIME, "20", **raised), balance, "0.1") == NOW + 10 * DAY
    assert ask(rule(LimitWindow.LIFETIME, "20", **raised), balance, "8") == NOW + 11 * DAY / 8


def test_a_rolling_limit_is_reached_after_its_window_when_its_raise_ends() -> None:
    """At 2 a day, seven days hold 14: within the raised amount of 20, and over the 10 from the tenth day on."""
    until = NOW + 10 * DAY
    raised = {"base_amount_usd": Decimal(10), "raised_until": until}
    recent = spent((NOW - HOUR, "2"))
    assert ask(rule(LimitWindow.ROLLING_7D, "20", **raised), recent, "2") == until
    assert ask(rule(LimitWindow.ROLLING_7D, "20", **raised), recent, "1") is None
    assert ask(rule(LimitWindow.ROLLING_7D, "7"), spent(), "1") == NOW + 7 * DAY


def test_nothing_is_foreseen_after_the_end_of_the_limit() -> None:
    used = spent((NOW - 10 * DAY, "6"))
    for window in (LimitWindow.LIFETIME, LimitWindow.CALENDAR_MONTH):
        assert ask(rule(window, period=Period(end=NOW + 5 * DAY)), used, "1") == NOW + 4 * DAY
        assert ask(rule(window, period=Period(end=NOW + 4 * DAY)), used, "1") is None


amounts = st.sampled_from(("0.000000000000000000000001", "0.1", "0.35", "1", "2.5", "9.99", "-0.5")).map(Decimal)
ages = st.integers(0, 9 * 24).map(lambda hours: hours * HOUR) | st.integers(-3_600, 8 * 86_400).map(
    lambda seconds: timedelta(seconds=seconds)
)


@pytest.mark.parametrize("window", LimitWindow)
@examples(75)
@given(
    events=st.lists(st.tuples(ages, amounts), max_size=12),
    amount=st.sampled_from(("1", "2.5", "10")),
    recent=amounts,
    minutes=st.integers(0, 60 * 24 * 32),
    raised_for=st.none() | st.integers(1, 14),
)
def test_it_is_the_first_instant_at_which_the_amount_is_reached(
    window: LimitWindow,
    events: list[tuple[timedelta, Decimal]],
    amount: str,
    recent: Decimal,
    minutes: int,
    raised_for: int | None,
) -> None:
    now = NOW + timedelta(minutes=minutes)
    oracle = Oracle(
        window=window.value,
        amount=Decimal(amount),
        zone="Europe/Berlin",
        raised_to=Decimal(12) if raised_for else None,
        raised_until=now + raised_for * DAY if raised_for else now,
        spend=tuple((now - age, usd) for age, usd in events),
    )
    about = rule(window, oracle.amount_at(now), base_amount_usd=oracle.amount, raised_until=_end_of_raise(oracle, now))
    balance = Balance(tuple(sorted(Bucket(at, at, usd) for at, usd in oracle.counted(now))))
    actual = ask(about, balance, recent, now)

    ahead = Ahead(oracle, recent, now)
    if oracle.is_reached(now) or ahead.rate <= 0:
        assert actual is None
        return
    looked_at = [at for at in ahead.instants() if actual is None or at < actual]
    assert not any(ahead.is_reached(at) for at in looked_at)
    if actual is not None:
        assert now < actual < ahead.end
        assert ahead.is_reached(actual)
        assert not ahead.is_reached(actual - MOMENT)


class Ahead:
    """What would be spent at the rate of late."""

    def __init__(self, oracle: Oracle, recent: Decimal, now: datetime) -> None:
        self.oracle, self.now = oracle, now
        start, end = oracle.span(now)
        is_young = start is not None and now - start < DAY
        usd, during = (oracle.spent(now), now - start) if is_young and start is not None else (recent, DAY)
        self.rate = Fraction(usd) / (during // MOMENT) if during else Fraction(0)
        self.end = end or now + TEN_YEARS
        self.lasts = ROLLING.get(oracle.window)

    def is_reached(self, at: datetime) -> bool:
        # What is spent from now on leaves a rolling window, too.
        left = sum((usd for when, usd in self.oracle.counted(self.now) if self._counts(when, at)), Decimal(0))
        during = at - self.now if self.lasts is None else min(at - self.now, self.lasts)
        return Fraction(left) + self.rate * (during // MOMENT) >= Fraction(self.oracle.amount_at(at))

    def instants(self) -> Iterator[datetime]:
        """Between changes spend only grows: so just before each, and at it."""
        yield self.end - MOMENT
        if self.lasts is not None:
            yield self.now + self.lasts
        for at in self.oracle.changes(self.now):
            if at < self.end:
                yield from (at - MOMENT, at)

    def _counts(self, when: datetime, at: datetime) -> bool:
        return self.lasts is None or when > at - self.lasts


def _end_of_raise(oracle: Oracle, now: datetime) -> datetime | None:
    return oracle.raised_until if oracle.raised_to is not None and now < oracle.raised_until else None
