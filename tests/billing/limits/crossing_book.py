"""A limit's crossings in memory: steps are taken as `billing.limits.record_threshold_events` takes them."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.limits.evaluate import span_of
from billing.limits.threshold_events import Notification, Standing, Step, is_settled, step, step_without_limit
from billing.limits.types import ByHand, Rule
from billing.models import LimitCrossing
from billing.types import ExceptionKind, LimitAction, LimitScope, LimitWindow, NoticeKind
from costtrack.calendar import Calendar
from tests.usage import NOW


def rule_of(window: LimitWindow = LimitWindow.CALENDAR_WEEK, **fields: Any) -> Rule:
    """10 USD a week for the organization if nothing else is said."""
    amount = Decimal(fields.pop("amount_usd", 10))
    return Rule(
        **{
            "limit_id": 1,
            "scope": LimitScope.ORGANIZATION,
            "value": "",
            "display_value": "",
            "is_of_each": False,
            "window": window,
            "amount_usd": amount,
            "base_amount_usd": amount,
            "action": LimitAction.PAUSE,
            "thresholds": (80, 95, 100),
            **fields,
        }
    )


@dataclass
class CrossingBook:
    """One limit and one value, its clock, and all that was ever written."""

    calendar: Calendar
    rule: Rule = field(default_factory=rule_of)
    now: datetime = NOW
    rows: list[LimitCrossing] = field(default_factory=list)

    def spent(self, usd: str, *, after: timedelta = timedelta(), **rule: Any) -> list[str]:
        """Time passes, the limit becomes another, so much is spent in its window: what is told."""
        self.now += after
        if "amount_usd" in rule:
            rule["amount_usd"] = Decimal(rule["amount_usd"])
        self.rule = replace(self.rule, **rule)
        standing = Standing(self.rule, Decimal(usd), span_of(self.rule.window, self.calendar, self.now), self.now)
        return self.take(standing)

    def take(self, standing: Standing) -> list[str]:
        is_open = [row for row in self.rows if row.resolved_at is None]
        taken = step(standing, self.rows)
        assert is_settled(standing, is_open) == (not self.apply(taken, standing))
        is_open = [row for row in self.rows if row.resolved_at is None]
        assert is_settled(standing, is_open)
        return [told(one) for one in taken.notifications]

    def goes(self) -> list[str]:
        """The limit is removed, or not in force any more."""
        taken = step_without_limit([row for row in self.rows if row.resolved_at is None])
        self.apply(taken, None)
        return [told(one) for one in taken.notifications]

    def apply(self, taken: Step, standing: Standing | None) -> bool:
        """Whether anything was written. What the database refuses, this refuses."""
        for resolved in taken.resolved:
            resolved.row.resolved_at, resolved.row.times = self.now, resolved.times
        for reopened in taken.reopened:
            reopened.row.resolved_at, reopened.row.times = None, reopened.times
            if reopened.is_told:
                reopened.row.crossed_at = self.now
        for opened in taken.opened:
            assert standing is not None
            row = LimitCrossing(
                threshold=opened.mark.threshold,
                window_key=opened.key,
                amount_usd=opened.mark.amount_usd,
                spent_usd=standing.spent_usd or Decimal(0),
                crossed_at=self.now,
            )
            self.rows.append(row)
        keys = [(row.threshold, row.window_key, row.amount_usd) for row in self.rows]
        assert len(keys) == len(set(keys))
        open_ones = self.open()
        assert len(open_ones) == len(set(open_ones))
        return bool(taken.resolved or taken.reopened or taken.opened)

    def open(self) -> list[int]:
        return sorted(row.threshold for row in self.rows if row.resolved_at is None)


def told(one: Notification) -> str:
    """`threshold_reached 80`, `paused 100`."""
    return f"{NoticeKind(one.kind).value.removeprefix('limit.')} {one.threshold}"


def paused(reason: str = "We look into it.", until: datetime | None = None) -> ByHand:
    return ByHand(ExceptionKind.PAUSE, until, reason)


def opened(until: datetime | None = None) -> ByHand:
    return ByHand(ExceptionKind.OPEN, until, "The launch.")
