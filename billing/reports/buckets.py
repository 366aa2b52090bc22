"""Windows and time buckets: what of a window rollups can answer, and what is left for the ledger. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from billing.reports.types import Window
from costtrack.ids import ids_at

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Split:
    """A window in parts that do not overlap: whole buckets (None: there are none), and what lies beside them."""

    whole: Window | None
    edges: tuple[Window, ...]


def split(window: Window, bucket: timedelta) -> Split:
    """The window's whole buckets of this size (UTC), and its edges, each shorter than a bucket. A
    window inside one bucket is an edge."""
    first = next_boundary(window.start, bucket) if window.start is not None else None
    last = _boundary(window.end, bucket) if window.end is not None else None
    if first is not None and last is not None and first >= last and window != Window(first, last):
        return Split(None, _not_empty(window))
    return Split(Window(first, last), (*_not_empty(Window(window.start, first)), *_not_empty(Window(last, window.end))))


def _not_empty(window: Window) -> tuple[Window, ...]:
    """An edge has two sides; one that is open or nothing is none."""
    if window.start is None or window.end is None or window.start >= window.end:
        return ()
    return (window,)


def _boundary(instant: datetime, bucket: timedelta) -> datetime:
    """The last boundary that is not after the instant."""
    return instant - (instant - _EPOCH) % bucket


def next_boundary(instant: datetime, bucket: timedelta) -> datetime:
    """The first boundary that is not before the instant."""
    boundary = _boundary(instant, bucket)
    return boundary if boundary == instant else boundary + bucket


def earliest_id(instant: datetime) -> UUID:
    """No event of this time or later has a smaller id: events are at most an hour ahead of their receipt, and a day
    leaves room for clocks that differ. In a condition it leaves the months before alone."""
    return ids_at(max(instant - DAY, _EPOCH))[0] if instant > _EPOCH else UUID(int=0)
