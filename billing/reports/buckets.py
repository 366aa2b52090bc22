"""Divide windows between rollups and the ledger: each part of a window is read from the coarsest rollup that has whole
time buckets for it, and the edges from the ledger. Pure functions.

    plan_sources([Window(Nov 1 22:30, Nov 4 02:15)], (USAGE_DAYS, USAGE_HOURS))

reads Nov 2 to 4 from the days, 23:00 to 00:00 and 00:00 to 02:00 from the hours, and 30 and 15 minutes from the ledger.
Boundaries between windows are respected: a day in which one window ends and another begins is read hour by hour, and
that hour event by event.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from billing.rollups.definitions import Rollup
from costtrack.calendar import ALWAYS, Window, last_boundary, next_boundary
from costtrack.clock import DAY, HOUR

SIZES = {"hour": HOUR, "day": DAY}


@dataclass(frozen=True, slots=True)
class Split:
    """A window split into its whole buckets (None if it contains none) and its edges."""

    buckets: Window | None
    edges: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Disjoint, ordered windows that are read from one rollup, or from the ledger if `rollup` is None."""

    rollup: Rollup | None
    windows: tuple[Window, ...]


def plan_sources(windows: Iterable[Window], levels: Sequence[Rollup]) -> list[Source]:
    """Assign windows to rollups, ordered from coarse to fine, and the ledger. The windows must be ordered, disjoint and
    not empty. A rollup without a time bucket has everything of any time."""
    sources, remaining = [], list(windows)
    for rollup in levels:
        if rollup.bucket is None:
            return [Source(rollup, (ALWAYS,))]
        pieces = [split(window, SIZES[rollup.bucket]) for window in remaining]
        sources.append(Source(rollup, _merge_adjacent(piece.buckets for piece in pieces if piece.buckets is not None)))
        remaining = [edge for piece in pieces for edge in piece.edges]
    sources.append(Source(None, _merge_adjacent(remaining)))
    return [source for source in sources if source.windows]


def split(window: Window, bucket: timedelta) -> Split:
    """Split a window into whole UTC buckets of this size and edges shorter than a bucket. A window inside one bucket is
    an edge."""
    first = next_boundary(window.start, bucket) if window.start is not None else None
    last = last_boundary(window.end, bucket) if window.end is not None else None
    if first is not None and last is not None and first >= last and window != Window(first, last):
        return Split(None, _not_empty(window))
    return Split(Window(first, last), (*_not_empty(Window(window.start, first)), *_not_empty(Window(last, window.end))))


def _not_empty(window: Window) -> tuple[Window, ...]:
    """Return the edge as a tuple, or nothing if it is open or empty."""
    if window.start is None or window.end is None or window.start >= window.end:
        return ()
    return (window,)


def _merge_adjacent(windows: Iterable[Window]) -> tuple[Window, ...]:
    merged: list[Window] = []
    for window in windows:
        if merged and merged[-1].end == window.start and window.start is not None:
            merged[-1] = Window(merged[-1].start, window.end)
        elif window.start is None or window.end is None or window.start < window.end:
            merged.append(window)
    return tuple(merged)
