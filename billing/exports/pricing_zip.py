"""The export of document 000: the runs of the ledger, one row each, as `runs.csv` in a ZIP.

A row is an event with its net cost; voided events are left out. So the rows of a window add up to
`billing.reports.pricing.daily`, unless events were dropped. Tool calls, compute and session summaries are rows too
(see `kind`), because they are part of the cost.

Rows are read in pages and written as they arrive, so memory does not grow with their number.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from io import TextIOWrapper
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple
from uuid import UUID
from zipfile import ZIP_DEFLATED, ZipFile

from django.conf import settings
from django.db import connection
from psycopg import sql

from billing.exports.cells import text_cell
from billing.ledger.adjustments import IS_VOID
from billing.reports.pricing.run_filter import Parameters, RunFilter, bind
from costtrack.clock import iso
from costtrack.money import plain
from costtrack.timeouts import statement_timeout
from organizations.models import Organization

MAX_ROWS = 100_000
FILE_IN_ZIP = "runs.csv"
HEADER = (
    "run_id",
    "group",
    "run_date",
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "total_tokens",
    "cost",
    "agents",
    "models",
    "kind",
    "status",
)

_PAGE = 5_000
_MAX_IN_MEMORY = 4 * 1024 * 1024

# A page of events with the sums of their adjustments. Ids are passed as an array, so that adjustments come from their
# index; a join might read all of them.
_EVENTS = sql.SQL("""
WITH page AS MATERIALIZED (
    SELECT * FROM billing_usageevent
    WHERE organization_id = %(organization)s AND kind <> 'adjustment' AND {conditions}
    ORDER BY occurred_at DESC, id DESC LIMIT %(page)s
), change AS (
    SELECT adjusts, bool_or({is_void}) AS is_voided, {changes} FROM billing_usageevent
    WHERE organization_id = %(organization)s AND adjusts = ANY(ARRAY(SELECT id FROM page))
    GROUP BY adjusts
)
SELECT page.id, page.occurred_at, coalesce(is_voided, false), page.kind, status, model,
    coalesce(nullif(group_name, ''), group_id), coalesce(nullif(agent_name, ''), agent_id), {sums}
FROM page LEFT JOIN change ON change.adjusts = page.id
ORDER BY page.occurred_at DESC, page.id DESC
""")
_SUMS = (
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"),
    *("unpriced", "token_cost_usd", "compute_cost_usd"),
)
_CHANGE = sql.SQL("sum({column}) AS {column}")
_SUM = sql.SQL("coalesce(page.{column}, 0) + coalesce(change.{column}, 0)")


class _Run(NamedTuple):
    """An event with its adjustments."""

    id: UUID
    occurred_at: datetime
    is_voided: bool
    kind: str
    status: str
    model: str
    group: str
    agent: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    unpriced: int
    token_cost_usd: Decimal
    compute_cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class ExportFilter:
    """Filters of runs, optionally of one group or session. Empty means any."""

    runs: RunFilter
    group_id: str = ""
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class PricingZip:
    """The ZIP file, at position 0. `is_complete` is False if older rows were left out."""

    file_name: str
    file: IO[bytes]
    rows: int
    is_complete: bool


@contextmanager
def pricing_zip(
    *, organization: Organization, filters: ExportFilter, now: datetime, max_rows: int = MAX_ROWS
) -> Iterator[PricingZip]:
    """Yield an export of the newest runs, newest first, up to `max_rows`. The file is deleted at the end of the
    context."""
    rows = 0
    runs = _runs(organization, filters)
    with SpooledTemporaryFile(max_size=_MAX_IN_MEMORY) as file:
        with (
            ZipFile(file, "w", ZIP_DEFLATED) as archive,
            archive.open(FILE_IN_ZIP, "w") as member,
            TextIOWrapper(member, encoding="utf-8", newline="") as text,
        ):
            writer = csv.writer(text)
            writer.writerow(HEADER)
            for run in islice(runs, max_rows):
                writer.writerow(_cells(run))
                rows += 1
        is_complete = next(runs, None) is None
        file.seek(0)
        yield PricingZip(f"pricing_export_{now:%Y-%m-%d_%H%M%S}.zip", file, rows, is_complete)


def _runs(organization: Organization, filters: ExportFilter) -> Iterator[_Run]:
    """Yield runs, newest first, without voided ones."""
    parameters: Parameters = {"organization": organization.pk, "page": _PAGE}
    conditions = list(_conditions(filters, parameters))
    end = filters.runs.window.end
    before_end = [] if end is None else [sql.SQL("occurred_at < {}").format(bind(parameters, end))]
    page = _read([*conditions, *before_end], parameters)
    while page:
        yield from (run for run in page if not run.is_voided)
        if len(page) < _PAGE:
            return
        parameters |= {"last_at": page[-1].occurred_at, "last_id": page[-1].id}
        # Only one upper bound: with a second one the index would be entered at the first row of the instant, not at the
        # last row read.
        page = _read([*conditions, _AFTER_LAST], parameters)


# In subqueries the planner does not see the values (`billing.querysets` explains why that is better).
_AFTER_LAST = sql.SQL("(occurred_at, id) < ((SELECT %(last_at)s::timestamptz), (SELECT %(last_id)s::uuid))")


def _read(conditions: Sequence[sql.Composable], parameters: Parameters) -> list[_Run]:
    columns = list(map(sql.Identifier, _SUMS))
    statement = _EVENTS.format(
        conditions=sql.SQL(" AND ").join(conditions),
        is_void=sql.SQL(IS_VOID),
        changes=sql.SQL(", ").join(_CHANGE.format(column=column) for column in columns),
        sums=sql.SQL(", ").join(_SUM.format(column=column) for column in columns),
    )
    with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [_Run(*row) for row in cursor.fetchall()]


def _conditions(filters: ExportFilter, parameters: Parameters) -> Iterator[sql.Composable]:
    """Yield the conditions, without the end of the window."""
    yield filters.runs.condition(parameters)
    for condition, value in (
        ("occurred_at >= {}", filters.runs.window.start),
        ("group_id = {}", filters.group_id),
        ("session_id = {}", filters.session_id),
    ):
        if value:
            yield sql.SQL(condition).format(bind(parameters, value))


def _cells(run: _Run) -> tuple[object, ...]:
    """Return the cells in the order of `HEADER`. As everywhere in document 000, input tokens are the whole prompt."""
    prompt = run.input_tokens + run.cache_read_tokens + run.cache_creation_tokens
    cost = run.token_cost_usd + run.compute_cost_usd
    return (
        run.id,
        text_cell(run.group),
        iso(run.occurred_at),
        prompt,
        run.output_tokens,
        run.cache_read_tokens,
        prompt + run.output_tokens,
        plain(cost) if cost or run.unpriced <= 0 else "",
        text_cell(run.agent),
        text_cell(run.model),
        run.kind,
        run.status,
    )
