"""Any order of spending, waiting, changing the limit and doing things by hand: what is written is what is reached, and
what is told never leaves people in a wrong belief."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from billing.limits.evaluate import span_of
from billing.limits.threshold_events import Standing, marks
from billing.limits.types import ByHand, Rule
from billing.types import LimitAction, LimitWindow
from costtrack.calendar import Calendar
from tests.billing.limits.crossing_book import CrossingBook, opened, paused, rule_of
from tests.profiles import examples

_DAY = timedelta(days=1)
_BERLIN = Calendar(ZoneInfo("Europe/Berlin"))
_BY_HAND = st.sampled_from([None, paused(), opened()])
_WAITS = st.sampled_from([timedelta(0), timedelta(hours=5), _DAY - timedelta(seconds=1), _DAY, timedelta(days=8)])


class Crossing(RuleBasedStateMachine):
    """One limit. `spent` is what counts in its window; a test may set it to anything."""

    @initialize(window=st.sampled_from(list(LimitWindow)))
    def begin(self, window: LimitWindow) -> None:
        self.book = CrossingBook(_BERLIN, rule_of(window))
        self.spent = Decimal(0)
        self.believed_paused = False
        self.told: dict[tuple[int, str, Decimal], datetime] = {}

    @rule(usd=st.integers(0, 24), wait=_WAITS)
    def time_and_money_go_on(self, usd: int, wait: timedelta) -> None:
        self.spent = Decimal(usd)
        told = self.take(wait=wait)
        for line in told:
            self.is_told_for_the_first_time(int(line.split()[1]))

    @rule(
        amount=st.integers(5, 20),
        action=st.sampled_from(list(LimitAction)),
        soft=st.none() | st.integers(1, 20),
        thresholds=st.sampled_from([(80, 95, 100), (50, 100), (100,)]),
        by_hand=_BY_HAND,
    )
    def people_change_it(
        self,
        amount: int,
        action: LimitAction,
        soft: int | None,
        thresholds: tuple[int, ...],
        by_hand: ByHand | None,
    ) -> None:
        was_paused = self.is_paused()
        self.book.rule = replace(
            self.book.rule,
            amount_usd=Decimal(amount),
            action=action,
            soft_amount_usd=None if soft is None else Decimal(soft),
            thresholds=thresholds,
            by_hand=by_hand,
        )
        self.told.clear()
        told = self.take()
        if self.is_paused() and not was_paused:
            assert "paused 100" in told

    @rule()
    def nothing_happens(self) -> None:
        assert self.take() == []

    @rule()
    def it_is_removed_and_made_again(self) -> None:
        assert self.book.goes() == (["resumed 100"] if self.believed_paused else [])
        assert self.book.open() == []
        self.believed_paused = False
        self.told.clear()
        self.take()

    def take(self, wait: timedelta = timedelta()) -> list[str]:
        told = self.book.spent(str(self.spent), after=wait)
        assert self.book.open() == sorted(mark.threshold for mark in marks(self.standing()))
        assert len(told) <= 1 or told[0] == "resumed 100"
        if "resumed 100" in told:
            assert self.believed_paused
            assert not self.is_paused()
            self.believed_paused = False
        if "paused 100" in told:
            assert self.is_paused()
            self.believed_paused = True
        # Nobody goes on believing in a pause that is over. (The contrary may be: a pause that comes and goes is quiet.)
        assert self.is_paused() or not self.believed_paused
        return told

    def is_told_for_the_first_time(self, threshold: int) -> None:
        """Of its window and amount; in a rolling one, in 24 hours. (Access may be back as often as it was paused.)"""
        rule: Rule = self.book.rule
        if threshold == 100 and not self.is_reached_now():
            return
        key = (threshold, "" if rule.window is LimitWindow.ROLLING_7D else self.standing().window, rule.amount_usd)
        before = self.told.get(key)
        assert before is None or (rule.window is LimitWindow.ROLLING_7D and self.book.now - before >= _DAY)
        self.told[key] = self.book.now

    def is_reached_now(self) -> bool:
        return self.spent >= self.book.rule.amount_usd

    def is_paused(self) -> bool:
        rule = self.book.rule
        return rule.is_paused_by_hand or (rule.pauses and self.is_reached_now())

    def standing(self) -> Standing:
        rule, now = self.book.rule, self.book.now
        return Standing(rule, self.spent, span_of(rule.window, _BERLIN, now), now)


TestCrossing = Crossing.TestCase
TestCrossing.settings = examples(150, steps=30)
