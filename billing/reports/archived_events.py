"""Archived events with their net cost, as `billing.reports.event_query` reads those of the ledger. Read-only.

The row types and conditions are the same. Adjustments of an archived event are in files and, if they were made later,
in the ledger; both count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from billing.archives.archive_reader import Reader, archives_between, opened
from billing.archives.archive_schema import schema
from billing.ledger.adjustments import IS_VOID
from billing.ledger.net_cost import AMOUNTS, COUNTS, KNOWN_COST
from billing.ledger.partitions import month_of, next_month
from billing.models import EventArchive
from billing.reports.cursors import Position
from billing.reports.event_query import Row, columns_of, is_after
from billing.reports.sql import Condition, Parameters, bind
from billing.rollups.sql import column_list
from costtrack.calendar import Span, utc_midnight
from costtrack.database.queries import fetch_rows
from costtrack.ids import first_id_of, ids_at
from organizations.models import Organization

_SUMMED = (*COUNTS, *AMOUNTS)
_IN_WINDOW = sql.SQL("occurred_at >= %(start)s AND occurred_at < %(end)s")
_LATER_ADJUSTMENTS = sql.SQL("""
SELECT adjusts, {is_void}, {columns} FROM billing_usageevent
WHERE organization_id = %(organization)s AND kind = 'adjustment' AND {in_window}
    AND id >= %(first_id)s AND adjusts < %(first_after)s
""")
_ADJUSTED = sql.SQL("""
CREATE TEMP TABLE adjusted AS SELECT adjusts AS id, bool_or(is_void) AS is_voided, {sums} FROM (
    SELECT adjusts, coalesce(json_extract_string(metadata, '$.correction.kind') = 'void', false) AS is_void, {columns}
    FROM archive WHERE adjusts IS NOT NULL AND {in_window}
    UNION ALL SELECT adjusts, is_void, {columns} FROM later_adjustment
) AS adjustment GROUP BY adjusts
""")
_MATCHING = sql.SQL("SELECT * FROM archive AS event WHERE {in_window} AND kind <> 'adjustment' AND {condition}")
_PAGE = sql.SQL("""
CREATE TEMP TABLE page AS SELECT * FROM (
    SELECT event.*, {key} AS key FROM ({matching}) AS event LEFT JOIN adjusted ON adjusted.id = event.id
) AS event
WHERE {after} ORDER BY key DESC, occurred_at DESC, id DESC LIMIT {limit}
""")
_ROWS = sql.SQL("""
SELECT {columns} FROM page AS event LEFT JOIN adjusted ON adjusted.id = event.id
LEFT JOIN organizations_apicredential AS credential ON credential.id = event.credential_id
ORDER BY event.key DESC, event.occurred_at DESC, event.id DESC
""")
_COUNT = sql.SQL("SELECT count(*) FROM ({}) AS event")
_RUN_IDS = sql.SQL("SELECT DISTINCT run_id FROM {} WHERE run_id <> ''")
_RUNS = sql.SQL(
    "SELECT organization_id, run_id, workflow_id FROM billing_run"
    " WHERE organization_id = %(organization)s AND run_id = ANY (%(run_ids)s)"
)
_CREDENTIALS = sql.SQL(
    "SELECT organization_id, id, client_id, name FROM organizations_apicredential"
    " WHERE organization_id = %(organization)s"
)


@dataclass(frozen=True, slots=True)
class ArchivedEvents:
    """The archived events of an organization in a window. `condition` is over columns of the ledger."""

    organization: Organization
    window: Span
    condition: Condition
    archives: Sequence[EventArchive]

    def rows(self, row_type: type[Row], *, after: Position | None, limit: int, by_cost: bool = False) -> list[Row]:
        """Return events after a position, newest first or the most expensive first. Raises StorageError."""
        with opened(self.organization, self.archives) as reader:
            parameters = self._parameters()
            matching = self._matching(reader, parameters)
            self._add_adjustments(reader, parameters)
            columns = ("occurred_at", "id") if after is None or after.usd is None else ("key", "occurred_at", "id")
            page = _PAGE.format(
                key=KNOWN_COST if by_cost else sql.SQL("event.occurred_at"),
                matching=matching,
                after=is_after(columns, after, parameters),
                limit=bind(parameters, limit),
            )
            reader.fetch(page, parameters)
            self._add_runs(reader, "page")
            statement = _ROWS.format(columns=sql.SQL(", ").join(columns_of(row_type)))
            rows = [row_type._make(row) for row in reader.fetch(statement, parameters)]
        return [row._replace(is_archived=True) for row in rows] if "is_archived" in row_type._fields else rows

    def count(self, limit: int) -> int:
        """Count the events, up to `limit`. Raises StorageError."""
        with opened(self.organization, self.archives) as reader:
            parameters = self._parameters()
            [(number,)] = reader.fetch(_COUNT.format(self._matching(reader, parameters)), parameters)
        return min(int(number), limit)

    def _parameters(self) -> Parameters:
        return {"organization": self.organization.pk, "start": self.window.start, "end": self.window.end}

    def _matching(self, reader: Reader, parameters: Parameters) -> sql.Composable:
        """Return the query of the matching events, after adding the tables that conditions refer to."""
        types = {"organization_id": "int64", "id": "int64", "client_id": "string", "name": "string"}
        reader.add_table("organizations_apicredential", types, fetch_rows(_CREDENTIALS, parameters))
        condition = self.condition(parameters)
        if "billing_run" in condition.as_string(None):
            self._add_runs(reader, "archive")
        return _MATCHING.format(in_window=_IN_WINDOW, condition=condition)

    def _add_runs(self, reader: Reader, table: str) -> None:
        """Add the runs that the rows of a table belong to, for their workflows."""
        run_ids = [run_id for (run_id,) in reader.fetch(_RUN_IDS.format(sql.Identifier(table)), {})]
        runs = fetch_rows(_RUNS, {"organization": self.organization.pk, "run_ids": run_ids}) if run_ids else []
        types = {"organization_id": "int64", "run_id": "string", "workflow_id": "string"}
        reader.add_table("billing_run", types, runs)

    def _add_adjustments(self, reader: Reader, parameters: Parameters) -> None:
        """Add the sums of the adjustments of each event, those that are still in the ledger included."""
        end = next_month(utc_midnight(max(archive.month for archive in self.archives)))
        columns = column_list(_SUMMED)
        bounds = {"first_id": first_id_of(self.window.start), "first_after": ids_at(end)[0]}
        later = fetch_rows(
            _LATER_ADJUSTMENTS.format(is_void=sql.SQL(IS_VOID), columns=columns, in_window=_IN_WINDOW),
            {**parameters, **bounds},
        )
        types = {"adjusts": schema().field("adjusts").type, "is_void": "bool"}
        types |= {name: schema().field(name).type for name in _SUMMED}
        reader.add_table("later_adjustment", types, later)
        sums = sql.SQL(", ").join(sql.SQL("sum({0}) AS {0}").format(sql.Identifier(name)) for name in _SUMMED)
        reader.fetch(_ADJUSTED.format(sums=sums, columns=columns, in_window=_IN_WINDOW), parameters)


def may_have_archive(organization: Organization, now: datetime) -> bool:
    """Whether the organization existed before the current month, the earliest that is not archived. This saves a query
    for the others."""
    return month_of(organization.created_at) < month_of(now)


def archived_events(organization: Organization, window: Span, condition: Condition) -> ArchivedEvents | None:
    """Return the archived events of a window; None if there are none."""
    archives = archives_between(organization, *window)
    return ArchivedEvents(organization, window, condition, archives) if archives else None
