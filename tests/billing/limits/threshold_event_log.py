"""A limit's threshold events in memory: steps are taken as `billing.limits.enforce` takes them."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.limits.limit_windows import window_span
from billing.limits.threshold_events import (
    Changes,
    LimitSnapshot,
    Notification,
    is_up_to_date,
    plan_changes,
    plan_changes_without_limit,
)
from billing.limits.types import ManualOverride, Rule
from billing.models import ThresholdEvent
from billing.types import LimitAction, LimitScope, LimitWindow, NoticeKind, OverrideKind
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
            "is_per_value": False,
            "window": window,
            "amount_usd": amount,
            "base_amount_usd": amount,
            "action": LimitAction.PAUSE,
            "thresholds": (80, 95, 100),
            **fields,
        }
    )


@dataclass
class ThresholdEventLog:
    """One limit and one value, its clock, and all that was ever written."""

    calendar: Calendar
    rule: Rule = field(default_factory=rule_of)
    now: datetime = NOW
    rows: list[ThresholdEvent] = field(default_factory=list)

    def spent(self, usd: str, *, after: timedelta = timedelta(), **rule: Any) -> list[str]:
        """Time passes, the limit becomes another, so much is spent in its window: the notices."""
        self.now += after
        if "amount_usd" in rule:
            rule["amount_usd"] = Decimal(rule["amount_usd"])
        self.rule = replace(self.rule, **rule)
        snapshot = LimitSnapshot(
            self.rule, Decimal(usd), window_span(self.rule.window, self.calendar, self.now), self.now
        )
        return self.take(snapshot)

    def take(self, snapshot: LimitSnapshot) -> list[str]:
        is_open = [row for row in self.rows if row.resolved_at is None]
        changes = plan_changes(snapshot, self.rows)
        assert is_up_to_date(snapshot, is_open) == (not self.apply(changes, snapshot))
        is_open = [row for row in self.rows if row.resolved_at is None]
        assert is_up_to_date(snapshot, is_open)
        return [label(notification) for notification in changes.notifications]

    def goes(self) -> list[str]:
        """The limit is removed, or not in force any more."""
        changes = plan_changes_without_limit([row for row in self.rows if row.resolved_at is None])
        self.apply(changes, None)
        return [label(notification) for notification in changes.notifications]

    def apply(self, changes: Changes, snapshot: LimitSnapshot | None) -> bool:
        """Whether anything was written. What the database refuses, this refuses."""
        for resolved in changes.resolved:
            resolved.row.resolved_at, resolved.row.times = self.now, resolved.times
        for moved in changes.moved:
            moved.row.window_key = moved.key
        for reopened in changes.reopened:
            reopened.row.window_key = reopened.key
            reopened.row.resolved_at, reopened.row.times = None, reopened.times
            if reopened.is_notified:
                reopened.row.reached_at = self.now
        for opened in changes.opened:
            assert snapshot is not None
            row = ThresholdEvent(
                threshold=opened.reached.threshold,
                window_key=opened.key,
                amount_usd=opened.reached.amount_usd,
                spent_usd=snapshot.spent_usd or Decimal(0),
                reached_at=self.now,
            )
            self.rows.append(row)
        keys = [(row.threshold, row.window_key, row.amount_usd) for row in self.rows]
        assert len(keys) == len(set(keys))
        open_thresholds = self.open()
        assert len(open_thresholds) == len(set(open_thresholds))
        return bool(changes.resolved or changes.moved or changes.reopened or changes.opened)

    def open(self) -> list[int]:
        return sorted(row.threshold for row in self.rows if row.resolved_at is None)


def label(notification: Notification) -> str:
    """`threshold_reached 80`, `paused 100`."""
    return f"{NoticeKind(notification.kind).value.removeprefix('limit.')} {notification.threshold}"


def paused(reason: str = "We look into it.", until: datetime | None = None) -> ManualOverride:
    return ManualOverride(OverrideKind.PAUSE, until, reason)


def opened(until: datetime | None = None) -> ManualOverride:
    return ManualOverride(OverrideKind.OPEN, until, "The launch.")
