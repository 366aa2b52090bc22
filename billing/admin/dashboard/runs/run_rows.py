"""Table rows of runs for the list, a run's page and expanded branches."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.datetimes import LocalTimes, two_lines
from billing.admin.components.urls import admin_url, run_url
from billing.reports.rollup_query import Sums
from billing.reports.run_tree import RunRow, get_run_ancestors, list_child_runs
from costtrack.clock import iso
from organizations.models import Organization

CHILDREN_SHOWN = 50
DEEPEST_SHOWN = 9
"""Deeper rows are not indented further."""


@dataclass(frozen=True, slots=True)
class Cells:
    cost: str
    requests: str
    tokens: str
    unpriced: str
    """The number of events that are not in the cost, as text, or empty."""


@dataclass(frozen=True, slots=True)
class RunLine:
    """`name` is the id, cut if it is long. `repeats_ancestor`: the run is one of its own ancestors, so the tree has a
    cycle here."""

    run_id: str
    name: SafeString | str
    workflow_id: str
    url: str
    children_url: str
    depth: int
    when: SafeString | str
    own: Cells
    subtree: Cells
    runs_below: str
    repeats_ancestor: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """The first children of a run; `more_url` loads the next ones, or is empty."""

    lines: list[RunLine]
    more_url: str
    depth: int


def lines_of(
    rows: Iterable[RunRow], times: LocalTimes, *, depth: int = 0, above: Collection[str] = ()
) -> list[RunLine]:
    return [
        RunLine(
            run_id=row.run_id,
            name=formatting.name(row.run_id),
            workflow_id=row.workflow_id,
            url=run_url(row.run_id),
            children_url=_children_url(row.run_id, depth + 1) if row.has_children and row.run_id not in above else "",
            depth=min(depth, DEEPEST_SHOWN),
            when=_when(row, times),
            own=_cells(row.own),
            subtree=_cells(row.total, is_truncated=row.is_truncated),
            runs_below=_runs_below(row),
            repeats_ancestor=row.run_id in above,
        )
        for row in rows
    ]


def branch_of(
    organization: Organization,
    times: LocalTimes,
    *,
    run_id: str,
    since: datetime | None,
    after: int | None = None,
    depth: int = 0,
) -> Branch:
    """Return the children of a run that follow the row id `after`. `since` is the start of the visible history."""
    page = list_child_runs(organization=organization, run_id=run_id, since=since, after=after, limit=CHILDREN_SHOWN)
    above = {*get_run_ancestors(organization=organization, run_id=run_id).run_ids, run_id}
    lines = lines_of(page.rows, times, depth=depth, above=above)
    more = _children_url(run_id, depth, after=page.last) if page.last is not None else ""
    return Branch(lines, more, min(depth, DEEPEST_SHOWN))


def number_in(text: str | None) -> int | None:
    """Parse a row's id from a URL; None if it is invalid."""
    is_number = text is not None and text.isascii() and text.isdecimal() and len(text) < 19  # noqa: PLR2004 - digits of a bigint
    return int(text) if text is not None and is_number else None


def _children_url(run_id: str, depth: int, **query: Any) -> str:
    return admin_url("run_children", run_id, depth=depth, **query)


def _when(row: RunRow, times: LocalTimes) -> SafeString | str:
    """Render when the calls of a run and of those below it occurred; without any, when the run was first named."""
    if row.first_at is None or row.last_at is None:
        return times.two_lines(row.first_seen_at)
    span = times.span(row.first_at, row.last_at)
    title = f"{iso(row.first_at)} to {iso(row.last_at)}"
    return two_lines(row.last_at, times.relative(row.last_at), span, title=title)


def _runs_below(row: RunRow) -> str:
    if not row.runs_below:
        return ""
    number = formatting.count(row.runs_below)
    if row.is_truncated:
        return f"at least {number} child runs"
    return f"{number} child {'run' if row.runs_below == 1 else 'runs'}"


def _cells(sums: Sums, *, is_truncated: bool = False) -> Cells:
    more = "+" if is_truncated else ""
    return Cells(
        cost=f"{formatting.cost(sums.cost, sums.unpriced)}{more}",
        requests=f"{formatting.count(sums.requests)}{more}",
        tokens=f"{formatting.count(sums.total_tokens)}{more}",
        unpriced=f"{formatting.count(sums.unpriced)} unpriced" if sums.unpriced > 0 else "",
    )
