"""Split windows into whole time buckets, which rollups can answer, and the remaining edges, which the ledger answers.
Pure functions.
"""

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
    """A window split into its whole buckets (None if it contains none) and its edges."""

    buckets: Window | None
    edges: tuple[Window, ...]


def split(window: Window, bucket: timedelta) -> Split:
    """Split a window into whole UTC buckets of this size and edges shorter than a bucket. A window inside one bucket is
    an edge."""
    first = next_boundary(window.start, bucket) if window.start is not None else None
    last = _boundary(window.end, bucket) if window.end is not None else None
    if first is not None and last is not None and first >= last and window != Window(first, last):
        return Split(None, _not_empty(window))
    return Split(Window(first, last), (*_not_empty(Window(window.start, first)), *_not_empty(Window(last, window.end))))


def _not_empty(window: Window) -> tuple[Window, ...]:
    """Return the edge as a tuple, or nothing if it is open or empty."""
    if window.start is None or window.end is None or window.start >= window.end:
        return ()
    return (window,)


def _boundary(instant: datetime, bucket: timedelta) -> datetime:
    """Return the last boundary at or before the instant."""
    return instant - (instant - _EPOCH) % bucket


def next_boundary(instant: datetime, bucket: timedelta) -> datetime:
    """Return the first boundary at or after the instant."""
    boundary = _boundary(instant, bucket)
    return boundary if boundary == instant else boundary + bucket


def first_possible_id(instant: datetime) -> UUID:
    """Return an id that is not greater than that of any event at or after the instant. Events are at most an hour ahead
    of their receipt; a day allows for clock skew. In a condition it prunes earlier partitions."""
    return ids_at(max(instant - DAY, _EPOCH))[0] if instant > _EPOCH else UUID(int=0)
