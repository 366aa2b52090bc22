"""The rows that are booked in a month, as SQL: the usage of the month without its late events, and the late events of
earlier months. Read-only.

    usage of the month as the explorer shows it
    - late events of the month, which are booked later
    + late events of earlier months that are booked in this one

So the explorer's month is the statement's plus all later corrections that name the month, to the last digit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from psycopg import sql

from billing.models import DroppedMonth, LateEvent
from billing.reports.rollup_reader import RollupReader
from billing.reports.statements.months import StatementMonth, next_month
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.ledger_usage import EXPRESSIONS
from billing.reports.usage.totals import Rows, tag_rows, usage_rows
from billing.rollups.definitions import COSTS
from billing.rollups.late_events import CLOSED_MONTH_OF_EVENT
from billing.rollups.sql import column_list
from costtrack.calendar import Window, utc_midnight
from costtrack.clock import HOUR
from costtrack.errors import ConflictError
from costtrack.ids import ids_at
from organizations.models import Organization


class Section(IntEnum):
    """The parts of a statement, in their order."""

    USAGE = 1
    CREDITS = 2
    CORRECTIONS = 3


COST_COLUMNS = tuple(measure.column for measure in COSTS)

_BOOKED = sql.SQL("""
SELECT {usage} AS section, NULL::date AS corrected_month, 1 AS sign, {columns} FROM ({usage_rows}) AS usage
UNION ALL
SELECT {usage}, NULL, -1, {columns} FROM ({late}) AS late
UNION ALL
SELECT {usage}, NULL, -1, {columns} FROM ({credits}) AS credit
UNION ALL
SELECT {credit}, NULL, 1, {columns} FROM ({credits}) AS credit
UNION ALL
SELECT {correction}, corrected_month, 1, {columns} FROM ({corrections}) AS correction
""")
_RECORDED = sql.SQL("""
SELECT late.month AS corrected_month, {columns}
FROM billing_lateevent AS late CROSS JOIN LATERAL (
    SELECT {expressions} FROM billing_usageevent AS event
    WHERE event.organization_id = %(organization)s AND event.id = late.event_id
) AS cost
WHERE late.organization_id = %(organization)s AND late.{month_column} = {month} AND {condition}
""")
# An unfolded event of a closed month is late: it is folded after the closing.
_UNFOLDED = sql.SQL("""
UNION ALL
SELECT corrected_month, {columns}
FROM (
    SELECT id, last_event_id FROM billing_ingestbatch
    WHERE organization_id = %(organization)s AND folded_at IS NULL
) AS batch CROSS JOIN LATERAL (
    SELECT {month} AS corrected_month, {expressions} FROM billing_usageevent AS event
    WHERE event.organization_id = %(organization)s AND event.id > batch.id AND event.id <= batch.last_event_id
        AND {in_time}
) AS cost
WHERE {condition}
""")
# The rows of credits and those that void them, without late ones.
_CREDITS = sql.SQL("""
SELECT {columns} FROM (
    SELECT {expressions}
    FROM billing_credit AS credit
    JOIN billing_ingestbatch AS batch
        ON batch.organization_id = credit.organization_id AND batch.id = credit.batch_id
    CROSS JOIN LATERAL (
        SELECT * FROM billing_usageevent AS granted
        WHERE granted.organization_id = %(organization)s
            AND granted.id > batch.id AND granted.id <= batch.last_event_id
            AND granted.occurred_at >= {start} AND granted.occurred_at < {end}
    ) AS granted
    CROSS JOIN LATERAL (
        SELECT granted.*
        UNION ALL
        SELECT voided.* FROM billing_usageevent AS voided
        WHERE voided.organization_id = %(organization)s AND voided.adjusts = granted.id
    ) AS event
    WHERE credit.organization_id = %(organization)s AND credit.start < {end} AND credit."end" > {first_end}
        AND NOT EXISTS (
            SELECT FROM billing_lateevent AS late
            WHERE late.organization_id = %(organization)s AND late.event_id = event.id
        )
        AND ({is_open} OR NOT EXISTS (
            SELECT FROM billing_ingestbatch AS unfolded
            WHERE unfolded.organization_id = %(organization)s AND unfolded.folded_at IS NULL
                AND event.id > unfolded.id AND event.id <= unfolded.last_event_id
        ))
) AS cost
WHERE {condition}
""")
_IN_SPAN = sql.SQL("event.occurred_at >= {} AND event.occurred_at < {}")
_BEFORE = sql.SQL("event.occurred_at < {}")
_NOTHING: sql.Composable = sql.SQL("")


@dataclass(frozen=True, slots=True)
class BookedRows:
    """Builds the SELECT of the rows booked in a month: `section`, `corrected_month`, `sign`, the sums of `COST_COLUMNS`
    (to be multiplied by the sign) and the columns of dimensions."""

    month: StatementMonth
    filters: UsageFilter
    columns: Sequence[str]
    usage: Rows

    def __call__(self, reader: RollupReader) -> sql.Composed:
        return _BOOKED.format(
            usage=sql.Literal(Section.USAGE.value),
            credit=sql.Literal(Section.CREDITS.value),
            correction=sql.Literal(Section.CORRECTIONS.value),
            columns=column_list(self.columns),
            usage_rows=self.usage(reader),
            late=self._late(reader),
            credits=self._credits(reader),
            corrections=self.corrections(reader),
        )

    def corrections(self, reader: RollupReader) -> sql.Composed:
        """Build the SELECT of the late events that are booked in the month: `corrected_month` and the columns."""
        unfolded = _NOTHING
        if self.month.takes_late_events:
            unfolded = self._unfolded(reader, _BEFORE.format(reader.bind(self.month.span.start)))
        return self._recorded(reader, "booked_month") + unfolded

    def _late(self, reader: RollupReader) -> sql.Composed:
        unfolded = _NOTHING
        if self.month.is_closed:
            unfolded = self._unfolded(reader, _IN_SPAN.format(*map(reader.bind, self.month.span)))
        return self._recorded(reader, "month") + unfolded

    def _recorded(self, reader: RollupReader, month_column: str) -> sql.Composed:
        return _RECORDED.format(
            columns=column_list(self.columns),
            expressions=self._expressions(),
            month_column=sql.Identifier(month_column),
            month=reader.bind(self.month.month),
            condition=self.filters.condition(reader.parameters),
        )

    def _unfolded(self, reader: RollupReader, in_time: sql.Composable) -> sql.Composed:
        return _UNFOLDED.format(
            columns=column_list(self.columns),
            month=CLOSED_MONTH_OF_EVENT,
            expressions=self._expressions(),
            in_time=in_time,
            condition=self.filters.condition(reader.parameters),
        )

    def _credits(self, reader: RollupReader) -> sql.Composed:
        start, end = self.month.span
        return _CREDITS.format(
            columns=column_list(self.columns),
            expressions=self._expressions(),
            start=reader.bind(start),
            end=reader.bind(end),
            # A share of a credit is booked up to an hour after the end of its day.
            first_end=reader.bind(start - HOUR),
            is_open=sql.Literal(not self.month.is_closed),
            condition=self.filters.condition(reader.parameters),
        )

    def _expressions(self) -> sql.Composed:
        """All columns, because the filters may need others than those that are selected."""
        return sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.SQL(expression), sql.Identifier(column))
            for column, expression in EXPRESSIONS.items()
        )


def booked_rows(
    organization: Organization, month: StatementMonth, filters: UsageFilter, columns: set[str]
) -> BookedRows:
    """Return what selects the rows that are booked in a month. Raises InvalidError if there are too many events to
    read, ConflictError if some of them were dropped."""
    check_is_stored(organization, month)
    selected = (*COST_COLUMNS, *sorted(columns - {*COST_COLUMNS}))
    windows = [Window(*month.span)]
    if columns == {"tags"} and filters == UsageFilter():
        return BookedRows(month, filters, selected, tag_rows(organization, windows))
    return BookedRows(month, filters, selected, usage_rows(organization, filters, windows, columns))


def check_is_stored(organization: Organization, month: StatementMonth) -> None:
    """Raise ConflictError if retention has dropped events of the month, because late events are read one by one."""
    last = DroppedMonth.objects.of(organization).order_by("-month").first()
    if last is None:
        return
    first_stored = utc_midnight(next_month(last.month))
    late = LateEvent.objects.of(organization).filter(event_id__lt=ids_at(first_stored)[0])
    if month.span.start < first_stored or late.filter(booked_month=month.month).exists():
        message = f"The events of {month.name} are no longer stored, so it has no statement."
        raise ConflictError(message, code="events_dropped")
