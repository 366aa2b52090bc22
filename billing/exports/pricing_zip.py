"""The export of document 000: the ledger's runs, one row each, as `runs.csv` in a ZIP.

A row is an event with its adjustments: its cost is what it costs now, and what was voided is not there. So the rows of
a window add up to what `billing.reports.pricing.daily` says of it, as long as no events of it were dropped. Tool calls,
compute and session summaries are rows too (`kind` says which), because they are part of the cost.

Rows are read in pages and written as they come: the memory that is needed does not grow with their number.
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
from billing.reports.pricing.run_filter import Parameters, RunFilter, bound
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

# A page of events, each with what its adjustments add. (In an array their ids are looked up by the index on what an
# adjustment adjusts; a join might read all adjustments that there are.)
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
    """Which runs; those of one group or session. Empty: all."""

    runs: RunFilter
    group_id: str = ""
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class PricingZip:
    """The ZIP, at its beginning. `is_complete` is False where older rows were left out."""

    file_name: str
    file: IO[bytes]
    rows: int
    is_complete: bool


@contextmanager
def pricing_zip(
    *, organization: Organization, filters: ExportFilter, now: datetime, most_rows: int = MAX_ROWS
) -> Iterator[PricingZip]:
    """The newest runs, newest first, at most `most_rows` of them. The file is gone when the context ends."""
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
            for run in islice(runs, most_rows):
                writer.writerow(_cells(run))
                rows += 1
        is_complete = next(runs, None) is None
        file.seek(0)
        yield PricingZip(f"pricing_export_{now:%Y-%m-%d_%H%M%S}.zip", file, rows, is_complete)


def _runs(organization: Organization, filters: ExportFilter) -> Iterator[_Run]:
    """Newest first, without those that were voided."""
    parameters: Parameters = {"organization": organization.pk, "page": _PAGE}
    conditions = list(_conditions(filters, parameters))
    end = filters.runs.window.end
    before_end = [] if end is None else [sql.SQL("occurred_at < {}").format(bound(parameters, end))]
    page = _read([*conditions, *before_end], parameters)
    while page:
        yield from (run for run in page if not run.is_voided)
        if len(page) < _PAGE:
            return
        parameters |= {"last_at": page[-1].occurred_at, "last_id": page[-1].id}
        # The only upper bound then: beside another one the index would not be entered at the last row, but at the first
        # of its instant.
        page = _read([*conditions, _AFTER_LAST], parameters)


# In subqueries the planner does not know the values (`billing.querysets` says why that is better).
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
    """Without the end of the window."""
    yield filters.runs.chosen(parameters)
    for condition, value in (
        ("occurred_at >= {}", filters.runs.window.start),
        ("group_id = {}", filters.group_id),
        ("session_id = {}", filters.session_id),
    ):
        if value:
            yield sql.SQL(condition).format(bound(parameters, value))


def _cells(run: _Run) -> tuple[object, ...]:
    """In the order of `HEADER`. Tokens are counted as everywhere in document 000: input is all of the prompt."""
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
