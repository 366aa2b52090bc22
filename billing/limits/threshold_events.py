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

from billing.limits.types import Rule, WindowSpan
from billing.models import PAUSING, LimitCrossing
from billing.types import LimitWindow, NoticeKind
from costtrack.clock import iso

SOFT = 0
"""The threshold that stands for the soft amount."""
QUIET = timedelta(hours=24)
"""How long the crossing of a rolling window is not told again."""
_LIFTED = 0
_PERCENT = Decimal(100)


class Cause(StrEnum):
    """Why there is a crossing; its `window_key` begins with it. A pause by hand is not the one that spend brings about,
    and an amount that is reached while nothing is paused is neither."""

    REACHED = ""
    OVER = "over"
    HAND = "by hand"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands for one value.

    `spent_usd` None: for all values of a limit that each has for itself, where nothing counts but what is done by hand.
    `is_paused_for_all`: somebody has paused such a limit for all values, which is told once, and not of each.
    """

    rule: Rule
    spent_usd: Decimal | None
    span: WindowSpan
    now: datetime
    is_paused_for_all: bool = False

    @property
    def is_rolling(self) -> bool:
        return self.rule.window is LimitWindow.ROLLING_7D

    @property
    def window(self) -> str:
        """What `window_key` calls the window."""
        if self.is_rolling:
            return iso(self.now)
        return LimitWindow.LIFETIME.value if self.span.start is None else iso(self.span.start)

    def is_window_of(self, row: LimitCrossing) -> bool:
        return self.is_rolling or _window_of(row) == self.window

    def has_reached(self, threshold: int, amount_usd: Decimal) -> bool:
        return self.spent_usd is not None and self.spent_usd >= _level(threshold, amount_usd)


class Mark(NamedTuple):
    """A threshold that is reached now. `amount_usd` is the limit's amount, or the soft one."""

    threshold: int
    cause: Cause
    amount_usd: Decimal


class NewThresholdEvent(NamedTuple):
    mark: Mark
    key: str


class Reopened(NamedTuple):
    row: LimitCrossing
    is_told: bool

    @property
    def times(self) -> int:
        """How often spend has crossed it since it was told."""
        return 1 if self.is_told else self.row.times + 1


class Resolved(NamedTuple):
    """`is_lifted`: people have ended it; spend has not fallen."""

    row: LimitCrossing
    is_lifted: bool

    @property
    def times(self) -> int:
        return _LIFTED if self.is_lifted else self.row.times


class Notification(NamedTuple):
    kind: NoticeKind
    threshold: int


@dataclass(slots=True)
class Step:
    """What to write, in this order, and to tell."""

    resolved: list[Resolved] = field(default_factory=list)
    reopened: list[Reopened] = field(default_factory=list)
    opened: list[NewThresholdEvent] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)


def marks(standing: Standing) -> list[Mark]:
    """The thresholds that are reached now, the lowest percent first."""
    rule = standing.rule
    found = [
        Mark(threshold, Cause.REACHED, rule.amount_usd)
        for threshold in rule.thresholds
        if threshold != PAUSING and standing.has_reached(threshold, rule.amount_usd)
    ]
    if rule.soft_amount_usd is not None and standing.has_reached(SOFT, rule.soft_amount_usd):
        found.append(Mark(SOFT, Cause.REACHED, rule.soft_amount_usd))
    if rule.is_paused_by_hand and not standing.is_paused_for_all:
        found.append(Mark(PAUSING, Cause.HAND, rule.amount_usd))
    elif standing.has_reached(PAUSING, rule.amount_usd):
        found.append(Mark(PAUSING, Cause.REACHED if rule.pauses else Cause.OVER, rule.amount_usd))
    return sorted(found)


def lowest_level(rule: Rule) -> Decimal:
    """Spend below it has reached no threshold."""
    levels = [_level(threshold, rule.amount_usd) for threshold in (*rule.thresholds, PAUSING)]
    return min(levels) if rule.soft_amount_usd is None else min(*levels, rule.soft_amount_usd)


def is_settled(standing: Standing, rows: Sequence[LimitCrossing]) -> bool:
    """Whether the open crossings are just what is reached now: then there is nothing to do."""
    found = marks(standing)
    return len(found) == len(rows) and all(any(_is(mark, row, standing) for row in rows) for mark in found)


def window_keys(standing: Standing) -> list[str]:
    """Of crossings of the same window that may be reopened."""
    return [_key(cause, standing) for cause in Cause]


def step(standing: Standing, rows: Iterable[LimitCrossing]) -> Step:
    """From what was written to what is reached now. `rows` are the crossings of the limit and value that are open, and
    those that are over and have one of the `window_keys` or, in a rolling window, are younger than `QUIET`."""
    rows = list(rows)
    left = {row.threshold: row for row in rows if row.resolved_at is None}
    over = sorted((row for row in rows if row.resolved_at is not None), key=lambda row: row.crossed_at)
    taken = Step()
    told: list[Mark] = []
    for mark in marks(standing):
        current = left.get(mark.threshold)
        if current is not None and _is(mark, current, standing):
            del left[mark.threshold]
            continue
        previous = next((row for row in reversed(over) if _was(mark, row, standing)), None)
        is_told = _is_to_be_told(mark, current, previous, standing)
        if is_told:
            told.append(mark)
        if previous is None:
            taken.opened.append(NewThresholdEvent(mark, _key(mark.cause, standing)))
        else:
            taken.reopened.append(Reopened(previous, is_told))
    taken.resolved = [Resolved(row, _is_lifted(row, standing)) for row in left.values()]
    taken.notifications = list(_tells(taken.resolved, told, standing))
    return taken


def step_without_limit(rows: Iterable[LimitCrossing]) -> Step:
    """The same for the open crossings of a limit that was removed, or is not in force any more."""
    resolved = [Resolved(row, is_lifted=True) for row in rows]
    is_back = any(_is_told_pause(row) for row, _ in resolved)
    return Step(resolved=resolved, notifications=[Notification(NoticeKind.RESUMED, PAUSING)] if is_back else [])


def _is(mark: Mark, row: LimitCrossing, standing: Standing) -> bool:
    """Whether the open crossing is what is reached now. A pause by hand goes on, whatever the amount and window."""
    if mark.threshold != row.threshold or mark.cause is not _cause_of(row):
        return False
    return mark.cause is Cause.HAND or (mark.amount_usd == row.amount_usd and standing.is_window_of(row))


def _was(mark: Mark, row: LimitCrossing, standing: Standing) -> bool:
    """Whether the crossing that is over is to be opened again, and not another one beside it."""
    if mark != (row.threshold, _cause_of(row), row.amount_usd):
        return False
    if standing.is_rolling and mark.cause is not Cause.HAND and row.times != _LIFTED:
        return standing.now - row.crossed_at < QUIET
    return row.window_key == _key(mark.cause, standing)


def _is_to_be_told(
    mark: Mark, current: LimitCrossing | None, previous: LimitCrossing | None, standing: Standing
) -> bool:
    """`current` is the open crossing whose place the mark takes, `previous` the one that is opened again."""
    is_new = previous is None or previous.times == _LIFTED
    if _is_pause(mark.threshold, mark.cause):
        return is_new or current is not None
    # Spend that was, and is, above the threshold has not crossed it because somebody has changed the amount.
    goes_on = current is not None and _cause_of(current) is not Cause.HAND and standing.is_window_of(current)
    return is_new and not goes_on


def _is_lifted(row: LimitCrossing, standing: Standing) -> bool:
    if _cause_of(row) is Cause.HAND:
        return True
    if row.threshold == PAUSING and standing.rule.is_paused_by_hand:
        return False  # it is only hidden
    return standing.is_window_of(row) and standing.has_reached(row.threshold, row.amount_usd)


def _tells(resolved: Sequence[Resolved], told: Sequence[Mark], standing: Standing) -> Iterator[Notification]:
    """Of several thresholds, only the highest; of a pause that goes on for another reason, not that it ends."""
    causes_pause = any(_is_pause(mark.threshold, mark.cause) for mark in marks(standing))
    is_paused = causes_pause or standing.rule.is_paused_by_hand
    if not is_paused and any(_is_told_pause(row) for row, _ in resolved):
        yield Notification(NoticeKind.RESUMED, PAUSING)
    if told:
        highest = max(told, key=_height)
        yield Notification(_kind(highest), highest.threshold)


def _height(mark: Mark) -> tuple[bool, Decimal, int]:
    return (_is_pause(mark.threshold, mark.cause), _level(mark.threshold, mark.amount_usd), mark.threshold)


def _kind(mark: Mark) -> NoticeKind:
    if _is_pause(mark.threshold, mark.cause):
        return NoticeKind.PAUSED
    return NoticeKind.EXCEEDED if mark.threshold == PAUSING else NoticeKind.THRESHOLD


def _is_pause(threshold: int, cause: Cause) -> bool:
    return threshold == PAUSING and cause is not Cause.OVER


def _is_told_pause(row: LimitCrossing) -> bool:
    return row.times == 1 and _is_pause(row.threshold, _cause_of(row))


def _level(threshold: int, amount_usd: Decimal) -> Decimal:
    return amount_usd if threshold == SOFT else amount_usd * threshold / _PERCENT


def _key(cause: Cause, standing: Standing) -> str:
    return f"{cause} {iso(standing.now) if cause is Cause.HAND else standing.window}".strip()


def _cause_of(row: LimitCrossing) -> Cause:
    return Cause(row.window_key.rpartition(" ")[0])


def _window_of(row: LimitCrossing) -> str:
    return row.window_key.rpartition(" ")[2]
