"""Any order of spending, waiting, changing the limit and doing things by hand: what is written is what is reached, and
the notices never leave people in a wrong belief."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from billing.limits.limit_windows import window_span
from billing.limits.threshold_events import LimitSnapshot, reached_thresholds
from billing.limits.types import ManualOverride, Rule
from billing.types import LimitAction, LimitWindow
from costtrack.calendar import Calendar
from tests.billing.limits.threshold_event_log import ThresholdEventLog, opened, paused, rule_of
from tests.profiles import examples

_DAY = timedelta(days=1)
_BERLIN = Calendar(ZoneInfo("Europe/Berlin"))
_MANUAL_OVERRIDES = st.sampled_from([None, paused(), opened()])
_INTERVALS = st.sampled_from([timedelta(0), timedelta(hours=5), _DAY - timedelta(seconds=1), _DAY, timedelta(days=8)])


class ThresholdEventMachine(RuleBasedStateMachine):
    """One limit. `spent` is what counts in its window; a test may set it to anything."""

    @initialize(window=st.sampled_from(list(LimitWindow)))
    def begin(self, window: LimitWindow) -> None:
        self.log = ThresholdEventLog(_BERLIN, rule_of(window))
        self.spent = Decimal(0)
        self.believed_paused = False
        self.labels: dict[tuple[int, str, Decimal], datetime] = {}

    @rule(usd=st.integers(0, 24), wait=_INTERVALS)
    def time_and_money_go_on(self, usd: int, wait: timedelta) -> None:
        self.spent = Decimal(usd)
        labels = self.take(wait=wait)
        for line in labels:
            self.check_notified_once(int(line.split()[1]))

    @rule(
        amount=st.integers(5, 20),
        action=st.sampled_from(list(LimitAction)),
        soft=st.none() | st.integers(1, 20),
        thresholds=st.sampled_from([(80, 95, 100), (50, 100), (100,)]),
        manual_override=_MANUAL_OVERRIDES,
    )
    def people_change_it(
        self,
        amount: int,
        action: LimitAction,
        soft: int | None,
        thresholds: tuple[int, ...],
        manual_override: ManualOverride | None,
    ) -> None:
        was_paused = self.is_paused()
        self.log.rule = replace(
            self.log.rule,
            amount_usd=Decimal(amount),
            action=action,
            soft_amount_usd=None if soft is None else Decimal(soft),
            thresholds=thresholds,
            manual_override=manual_override,
        )
        self.labels.clear()
        labels = self.take()
        if self.is_paused() and not was_paused:
            assert "paused 100" in labels

    @rule()
    def nothing_happens(self) -> None:
        assert self.take() == []

    @rule()
    def it_is_removed_and_made_again(self) -> None:
        assert self.log.goes() == (["resumed 100"] if self.believed_paused else [])
        assert self.log.open() == []
        self.believed_paused = False
        self.labels.clear()
        self.take()

    def take(self, wait: timedelta = timedelta()) -> list[str]:
        labels = self.log.spent(str(self.spent), after=wait)
        assert self.log.open() == sorted(reached.threshold for reached in reached_thresholds(self.snapshot()))
        assert len(labels) <= 1 or labels[0] == "resumed 100"
        if "resumed 100" in labels:
            assert self.believed_paused
            assert not self.is_paused()
            self.believed_paused = False
        if "paused 100" in labels:
            assert self.is_paused()
            self.believed_paused = True
        # Nobody goes on believing in a pause that is over. (The contrary may be: a pause that comes and goes is quiet.)
        assert self.is_paused() or not self.believed_paused
        return labels

    def check_notified_once(self, threshold: int) -> None:
        """Of its window and amount; in a rolling one, in 24 hours. (Access may be back as often as it was paused.)"""
        rule: Rule = self.log.rule
        if threshold == 100 and not self.is_reached_now():
            return
        key = (threshold, "" if rule.window is LimitWindow.ROLLING_7D else self.snapshot().window, rule.amount_usd)
        before = self.labels.get(key)
        assert before is None or (rule.window is LimitWindow.ROLLING_7D and self.log.now - before >= _DAY)
        self.labels[key] = self.log.now

    def is_reached_now(self) -> bool:
        return self.spent >= self.log.rule.amount_usd

    def is_paused(self) -> bool:
        rule = self.log.rule
        return rule.is_paused_manually or (rule.pauses and self.is_reached_now())

    def snapshot(self) -> LimitSnapshot:
        rule, now = self.log.rule, self.log.now
        return LimitSnapshot(rule, self.spent, window_span(rule.window, _BERLIN, now), now)


TestThresholdEvents = ThresholdEventMachine.TestCase
TestThresholdEvents.settings = examples(150, steps=30)
