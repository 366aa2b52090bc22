"""The export of document 000: the runs of the ledger, one row each, as `runs.csv` in a ZIP.

A row is an event with its net cost; voided events are left out. So the rows of a window add up to
`billing.reports.pricing.daily`, unless events were dropped. Tool calls, compute and session summaries are rows too
(see `kind`), because they are part of the cost.

Rows are read in pages and written as they arrive, so memory does not grow with their number.
"""

import csv
from collections.abc import Iterator
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
from psycopg import sql

from billing.exports.cells import text_cell
from billing.reports.event_query import EventQuery
from billing.reports.pricing.run_filter import RunFilter
from billing.reports.sql import Parameters, equal_to
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


class _Run(NamedTuple):
    """An event with its adjustments."""

    id: UUID
    occurred_at: datetime
    is_voided: bool
    kind: str
    status: str
    model: str
    group_label: str
    agent_label: str
    net_prompt_tokens: int
    net_output_tokens: int
    net_cache_read_tokens: int
    is_priced: bool
    known_cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class ExportFilter:
    """Filters of runs, optionally of some groups (None means any) or one session (empty means any)."""

    runs: RunFilter
    groups: tuple[str, ...] | None = None
    session_id: str = ""

    def condition(self, parameters: Parameters) -> sql.Composable:
        """Build the condition over columns of the ledger, without the window."""
        only = equal_to(
            {
                **({"group_id": self.groups} if self.groups is not None else {}),
                **({"session_id": self.session_id} if self.session_id else {}),
            }
        )
        return sql.SQL("{} AND {}").format(self.runs.condition(parameters), only(parameters))


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
    query = EventQuery(organization, (filters.runs.window,), filters.condition)
    after, is_done = None, False
    while not is_done:
        with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT):
            page = query.page(_Run, after=after, limit=_PAGE)
        yield from (run for run in page.rows if not run.is_voided)
        after, is_done = page.last, page.last is None


def _cells(run: _Run) -> tuple[object, ...]:
    """Return the cells in the order of `HEADER`. As everywhere in document 000, input tokens are the whole prompt."""
    return (
        run.id,
        text_cell(run.group_label),
        iso(run.occurred_at),
        run.net_prompt_tokens,
        run.net_output_tokens,
        run.net_cache_read_tokens,
        run.net_prompt_tokens + run.net_output_tokens,
        plain(run.known_cost_usd) if run.known_cost_usd or run.is_priced else "",
        text_cell(run.agent_label),
        text_cell(run.model),
        run.kind,
        run.status,
    )
