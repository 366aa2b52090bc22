"""Decide which threshold events to write and to notify, from a limit's balance and the rows that exist. Pure.

A notice is sent once per limit, threshold, window and amount (docs/decisions/018-threshold-events.md). Spend that falls
below the threshold and rises again is not notified twice: within a calendar window never; in a rolling one, which has
no natural end, at most once in 24 hours. If a user has changed the limit in between, the notice is sent again: access
must not pause silently after a notice said that it is back.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from billing.limits.limit_windows import ROLLING
from billing.limits.types import Rule
from billing.models import PAUSING, ThresholdEvent
from billing.types import LimitWindow, NoticeKind
from costtrack.calendar import Window
from costtrack.clock import iso

SOFT = 0
"""The threshold that represents the soft amount."""
RENOTIFY_AFTER = timedelta(hours=24)
"""How long a threshold of a rolling window is not notified again."""
MAX_ZONE_CHANGE = timedelta(hours=26)
"""How far two time zones are apart, so that much a window's beginning can move."""
_LIFTED = 0
_PERCENT = Decimal(100)


class Cause(StrEnum):
    """Why there is a threshold event; its `window_key` begins with this.

    REACHED: spend reached a threshold, and at 100 percent pauses access. OVER: spend reached the amount, but nothing is
    paused. MANUAL: a user paused the limit.
    """

    REACHED = ""
    OVER = "over"
    MANUAL = "by hand"


@dataclass(frozen=True, slots=True)
class LimitSnapshot:
    """The state of a limit for one value, at one time.

    `spent_usd` is None for all values of a per-value limit together; then only manual pauses count.
    `is_paused_for_all`: such a limit is paused for all values, which is notified once and not for each value.
    """

    rule: Rule
    spent_usd: Decimal | None
    span: Window
    now: datetime
    is_paused_for_all: bool = False

    @property
    def is_rolling(self) -> bool:
        return self.rule.window in ROLLING

    @property
    def window(self) -> str:
        """Return the window's part of `window_key`."""
        if self.is_rolling:
            return iso(self.now)
        return LimitWindow.LIFETIME.value if self.span.start is None else iso(self.span.start)

    def is_window_of(self, row: ThresholdEvent) -> bool:
        """Whether the row is of this window. It begins at another instant after a change of the time zone."""
        start, end = self.span
        if self.is_rolling or _window_of(row) == self.window:
            return True
        row_start = _start_of(row)
        if start is None or end is None or row_start is None:
            return False
        shift = abs(row_start - start)
        return shift <= MAX_ZONE_CHANGE and (shift < (end - start) / 2 or start <= row.reached_at < end)

    @property
    def earliest_row(self) -> datetime | None:
        """The time after which a resolved row that may be reopened was reached; None: only `window_keys` find it."""
        if self.is_rolling:
            return self.now - RENOTIFY_AFTER
        return None if self.span.start is None else self.span.start - MAX_ZONE_CHANGE

    def has_reached(self, threshold: int, amount_usd: Decimal) -> bool:
        return self.spent_usd is not None and self.spent_usd >= _threshold_usd(threshold, amount_usd)


class ReachedThreshold(NamedTuple):
    """A threshold that is currently reached. `amount_usd` is the limit's amount, or the soft amount."""

    threshold: int
    cause: Cause
    amount_usd: Decimal


class NewThresholdEvent(NamedTuple):
    reached: ReachedThreshold
    key: str


class Moved(NamedTuple):
    """An open row whose window begins at another instant now, because the time zone has changed."""

    row: ThresholdEvent
    key: str


class Reopened(NamedTuple):
    row: ThresholdEvent
    is_notified: bool
    key: str

    @property
    def times(self) -> int:
        """How often spend has reached the threshold since it was notified."""
        return 1 if self.is_notified else self.row.times + 1


class Resolved(NamedTuple):
    """A row to resolve. `is_lifted`: a user changed the limit; spend has not fallen."""

    row: ThresholdEvent
    is_lifted: bool

    @property
    def times(self) -> int:
        return _LIFTED if self.is_lifted else self.row.times


class Notification(NamedTuple):
    kind: NoticeKind
    threshold: int


@dataclass(slots=True)
class Changes:
    """The rows to write, in this order, and the notifications to send."""

    resolved: list[Resolved] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    reopened: list[Reopened] = field(default_factory=list)
    opened: list[NewThresholdEvent] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)


def reached_thresholds(snapshot: LimitSnapshot) -> list[ReachedThreshold]:
    """Return the thresholds that are currently reached, the lowest percent first."""
    rule = snapshot.rule
    thresholds = [
        ReachedThreshold(threshold, Cause.REACHED, rule.amount_usd)
        for threshold in rule.thresholds
        if threshold != PAUSING and snapshot.has_reached(threshold, rule.amount_usd)
    ]
    if rule.soft_amount_usd is not None and snapshot.has_reached(SOFT, rule.soft_amount_usd):
        thresholds.append(ReachedThreshold(SOFT, Cause.REACHED, rule.soft_amount_usd))
    if rule.is_paused_manually and not snapshot.is_paused_for_all:
        thresholds.append(ReachedThreshold(PAUSING, Cause.MANUAL, rule.amount_usd))
    elif snapshot.has_reached(PAUSING, rule.amount_usd):
        thresholds.append(ReachedThreshold(PAUSING, Cause.REACHED if rule.pauses else Cause.OVER, rule.amount_usd))
    return sorted(thresholds)


def lowest_threshold_usd(rule: Rule) -> Decimal:
    """Return the lowest spend that reaches a threshold."""
    amounts_usd = [_threshold_usd(threshold, rule.amount_usd) for threshold in (*rule.thresholds, PAUSING)]
    return min(amounts_usd) if rule.soft_amount_usd is None else min(*amounts_usd, rule.soft_amount_usd)


def is_up_to_date(snapshot: LimitSnapshot, rows: Sequence[ThresholdEvent]) -> bool:
    """Whether the open rows match the thresholds that are currently reached, so that there is nothing to do."""
    thresholds = reached_thresholds(snapshot)
    return len(thresholds) == len(rows) and all(
        any(_matches(reached, row, snapshot) for row in rows) for reached in thresholds
    )


def window_keys(snapshot: LimitSnapshot) -> list[str]:
    """Return the keys of rows of the same window that may be reopened."""
    return [_key(cause, snapshot) for cause in Cause]


def plan_changes(snapshot: LimitSnapshot, rows: Iterable[ThresholdEvent]) -> Changes:
    """Return the changes that bring the rows in line with the thresholds that are currently reached.

    `rows` are those of the limit and value that are open, and resolved ones that have one of the `window_keys` or were
    reached after `earliest_row`.
    """
    rows = list(rows)
    open_rows = {row.threshold: row for row in rows if row.resolved_at is None}
    resolved = sorted((row for row in rows if row.resolved_at is not None), key=lambda row: row.reached_at)
    changes = Changes()
    to_notify: list[ReachedThreshold] = []
    for reached in reached_thresholds(snapshot):
        current = open_rows.get(reached.threshold)
        if current is not None and _matches(reached, current, snapshot):
            del open_rows[reached.threshold]
            continue
        key = _key(reached.cause, snapshot)
        previous = _to_reopen(reached, resolved, snapshot)
        if (
            current is not None
            and _is_moved(reached, current, snapshot)
            and (previous is None or previous.window_key != key)
        ):
            del open_rows[reached.threshold]
            changes.moved.append(Moved(current, key))
            continue
        is_notified = _should_notify(reached, current, previous, snapshot)
        if is_notified:
            to_notify.append(reached)
        if previous is None:
            changes.opened.append(NewThresholdEvent(reached, key))
        else:
            changes.reopened.append(
                Reopened(previous, is_notified, previous.window_key if snapshot.is_rolling else key)
            )
    changes.resolved = [Resolved(row, _is_lifted(row, snapshot)) for row in open_rows.values()]
    changes.notifications = list(_notifications(changes.resolved, to_notify, snapshot))
    return changes


def plan_changes_without_limit(rows: Iterable[ThresholdEvent]) -> Changes:
    """Return the changes for the open rows of a limit that was removed or is no longer in force."""
    resolved = [Resolved(row, is_lifted=True) for row in rows]
    is_back = any(_is_notified_pause(row) for row, _ in resolved)
    return Changes(resolved=resolved, notifications=[Notification(NoticeKind.RESUMED, PAUSING)] if is_back else [])


def _matches(reached: ReachedThreshold, row: ThresholdEvent, snapshot: LimitSnapshot) -> bool:
    """Whether the open row is for the reached threshold. A manual pause is independent of amount and window."""
    if reached.threshold != row.threshold or reached.cause is not _cause_of(row):
        return False
    if reached.cause is Cause.MANUAL:
        return True
    is_same_window = snapshot.is_rolling or _window_of(row) == snapshot.window
    return reached.amount_usd == row.amount_usd and is_same_window


def _is_moved(reached: ReachedThreshold, row: ThresholdEvent, snapshot: LimitSnapshot) -> bool:
    """Whether the open row is for the reached threshold, and only the beginning of its window has changed."""
    return reached == (row.threshold, _cause_of(row), row.amount_usd) and snapshot.is_window_of(row)


def _to_reopen(
    reached: ReachedThreshold, resolved: Sequence[ThresholdEvent], snapshot: LimitSnapshot
) -> ThresholdEvent | None:
    """Return the latest resolved row to reopen instead of creating a new one, first of those with exactly its key."""
    rows = [row for row in reversed(resolved) if _can_reopen(reached, row, snapshot)]
    key = _key(reached.cause, snapshot)
    return next((row for row in rows if row.window_key == key), rows[0] if rows else None)


def _can_reopen(reached: ReachedThreshold, row: ThresholdEvent, snapshot: LimitSnapshot) -> bool:
    """Whether the resolved row is reopened instead of creating a new one."""
    if reached != (row.threshold, _cause_of(row), row.amount_usd):
        return False
    if reached.cause is Cause.MANUAL or (snapshot.is_rolling and row.times == _LIFTED):
        return row.window_key == _key(reached.cause, snapshot)
    if snapshot.is_rolling:
        return snapshot.now - row.reached_at < RENOTIFY_AFTER
    return snapshot.is_window_of(row)


def _should_notify(
    reached: ReachedThreshold, current: ThresholdEvent | None, previous: ThresholdEvent | None, snapshot: LimitSnapshot
) -> bool:
    """Whether to notify the reached threshold. `current` is the open row that it replaces, `previous` the one to
    reopen."""
    is_new = previous is None or previous.times == _LIFTED
    if _is_pause(reached.threshold, reached.cause):
        return is_new or current is not None
    # A changed amount is no new event if spend was above the threshold before and still is.
    is_unchanged = current is not None and _cause_of(current) is not Cause.MANUAL and snapshot.is_window_of(current)
    return is_new and not is_unchanged


def _is_lifted(row: ThresholdEvent, snapshot: LimitSnapshot) -> bool:
    if _cause_of(row) is Cause.MANUAL:
        return True
    if row.threshold == PAUSING and snapshot.rule.is_paused_manually:
        return False  # only hidden by the manual pause
    return snapshot.is_window_of(row) and snapshot.has_reached(row.threshold, row.amount_usd)


def _notifications(
    resolved: Sequence[Resolved], to_notify: Sequence[ReachedThreshold], snapshot: LimitSnapshot
) -> Iterator[Notification]:
    """Yield only the highest of several thresholds, and the end of a pause only if access is no longer paused."""
    causes_pause = any(_is_pause(reached.threshold, reached.cause) for reached in reached_thresholds(snapshot))
    is_paused = causes_pause or snapshot.rule.is_paused_manually
    if not is_paused and any(_is_notified_pause(row) for row, _ in resolved):
        yield Notification(NoticeKind.RESUMED, PAUSING)
    if to_notify:
        highest = max(to_notify, key=_severity)
        yield Notification(_kind(highest), highest.threshold)


def _severity(reached: ReachedThreshold) -> tuple[bool, Decimal, int]:
    return (
        _is_pause(reached.threshold, reached.cause),
        _threshold_usd(reached.threshold, reached.amount_usd),
        reached.threshold,
    )


def _kind(reached: ReachedThreshold) -> NoticeKind:
    if _is_pause(reached.threshold, reached.cause):
        return NoticeKind.PAUSED
    return NoticeKind.EXCEEDED if reached.threshold == PAUSING else NoticeKind.THRESHOLD


def _is_pause(threshold: int, cause: Cause) -> bool:
    return threshold == PAUSING and cause is not Cause.OVER


def _is_notified_pause(row: ThresholdEvent) -> bool:
    return row.times == 1 and _is_pause(row.threshold, _cause_of(row))


def _threshold_usd(threshold: int, amount_usd: Decimal) -> Decimal:
    return amount_usd if threshold == SOFT else amount_usd * threshold / _PERCENT


def _key(cause: Cause, snapshot: LimitSnapshot) -> str:
    return f"{cause} {iso(snapshot.now) if cause is Cause.MANUAL else snapshot.window}".strip()


def _cause_of(row: ThresholdEvent) -> Cause:
    return Cause(row.window_key.rpartition(" ")[0])


def _window_of(row: ThresholdEvent) -> str:
    return row.window_key.rpartition(" ")[2]


def _start_of(row: ThresholdEvent) -> datetime | None:
    """Return the beginning of the row's window; None for a lifetime."""
    try:
        return datetime.fromisoformat(_window_of(row))
    except ValueError:
        return None
