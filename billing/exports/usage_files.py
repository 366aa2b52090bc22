"""Usage as files: events, days, and rows of the explorer. All of them add up to the summary of the same filters."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar, Self

import msgspec
from django.conf import settings

from billing.exports.table_files import FileQuery, FileTable, Part, Row, columns_of, dated_name
from billing.reports.archived_events import may_have_archive
from billing.reports.cursors import cursor_of, position_of
from billing.reports.usage.breakdown import groups_by_period
from billing.reports.usage.explorer import ExplorerPage, ExplorerQuery, ExplorerRow, SortBy, explore
from billing.reports.usage.figures import DIMENSION_OF, ZERO_FIGURES, Figures, GroupBy, UsageFilter
from billing.reports.usage.query import UsageQuery, split_into_periods
from billing.reports.usage.request_log import Call, CallFilter, count_listed_calls, list_calls, most_expensive_calls
from billing.reports.usage.totals import totals
from costtrack.calendar import Calendar, Span, Unit
from costtrack.clock import MICROSECOND
from costtrack.file_columns import FileColumn, Kind
from costtrack.tenancy import tenant_scope
from costtrack.timeouts import statement_timeout
from organizations.models import Organization, User
from organizations.permissions import OWN_USAGE, USAGE, Resource

_PAGE = 2_000
_EXPLORER_PAGE = 10_000

_CALL_COLUMNS = (
    *columns_of(Kind.TIME, "time"),
    *columns_of(Kind.TEXT, "id", "event_id", "request_id", "endpoint", "capability", "service", "model", "client_id"),
    *columns_of(Kind.TEXT, "status"),
    *columns_of(Kind.COUNT, "status_code", "prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens"),
    *columns_of(Kind.AMOUNT, "cost_usd"),
    *columns_of(Kind.BOOLEAN, "voided"),
    *columns_of(Kind.TEXT, "kind", "sent_model", "provider", "user_id", "team", "end_user", "agent_id", "environment"),
    *columns_of(Kind.TEXT, "run_id", "workflow_id", "session_id", "execution_id", "cost_group", "tool"),
    *columns_of(Kind.TEXTS, "tags"),
    *columns_of(Kind.TEXT, "credential_name"),
)
_DAY_FIGURES = (
    *columns_of(Kind.COUNT, "requests", "errors", "prompt_tokens", "completion_tokens", "cached_tokens"),
    *columns_of(Kind.COUNT, "total_tokens"),
    *columns_of(Kind.AMOUNT, "cost_usd"),
    *columns_of(Kind.COUNT, "unpriced_events"),
)
_FIGURES = (*_DAY_FIGURES, *columns_of(Kind.COUNT, "cache_creation_tokens"))


class Rows(StrEnum):
    """The granularity of rows."""

    REQUESTS = "requests"
    DAYS = "days"
    BREAKDOWN = "breakdown"


class RequestsFile(msgspec.Struct, frozen=True, tag="requests", kw_only=True):
    """One row per event, newest first: calls, and what else has a cost, so that the rows add up to the figures of the
    page; or only calls, also the most expensive first. `received_by` excludes later arrivals, so that all parts are of
    one state. `users` are those of a member's own usage."""

    title: ClassVar[str] = "Requests"
    filters: UsageFilter
    window: Span
    received_by: datetime
    endpoint: str = ""
    only_calls: bool = False
    by_cost: bool = False
    users: tuple[str, ...] | None = None

    @property
    def resource(self) -> Resource:
        return USAGE if self.users is None else OWN_USAGE

    def table(self, organization: Organization, user: User) -> FileTable:
        """Each part is read in a separate transaction."""
        filters = CallFilter(
            self.filters,
            self.window,
            endpoint=self.endpoint,
            received_by=self.received_by,
            users=self.users,
            has_all_kinds=not self.only_calls,
            with_archive=self.users is None and may_have_archive(organization, self.received_by),
        )
        list_rows = most_expensive_calls if self.by_cost else list_calls

        def read(position: str) -> Part:
            with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
                after = position_of(position)
                page = list_rows(organization=organization, filters=filters, after=after, limit=_PAGE)
            return Part(list(map(_call_row, page.rows)), cursor_of(page.last))

        def count(limit: int) -> int:
            with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
                return count_listed_calls(organization=organization, filters=filters, limit=limit)

        return FileTable(_CALL_COLUMNS, read, count, organization.calendar.zone)

    def file_name(self, organization: Organization) -> str:
        return dated_name(Rows.REQUESTS, organization, self.window)


class DaysFile(msgspec.Struct, frozen=True, tag="days", kw_only=True):
    """One row per day, oldest first; with `by` one for each of its values with usage on that day."""

    resource: ClassVar[Resource] = USAGE
    title: ClassVar[str] = "Days"
    filters: UsageFilter
    window: Span
    by: GroupBy | None = None

    def table(self, organization: Organization, user: User) -> FileTable:
        """Raises InvalidError if there are too many days."""
        calendar, by = organization.calendar, self.by
        spans = split_into_periods(calendar, self.window, Unit.DAY, param="start_date")
        days = [calendar.date_of(span.start) for span in spans]
        key = columns_of(Kind.TEXT, DIMENSION_OF[by].parameter) if by is not None else ()

        def read(_position: str) -> Part:
            parts = _days(organization=organization, filters=self.filters, days=days, spans=spans, by=by)
            return Part([row for rows in parts for row in rows], None)

        columns = (*columns_of(Kind.TEXT, "date"), *key, *_DAY_FIGURES)
        return FileTable(columns, read, lambda limit: min(len(days), limit), calendar.zone)

    def file_name(self, organization: Organization) -> str:
        return dated_name(Rows.DAYS, organization, self.window)


class BreakdownFile(msgspec.Struct, frozen=True, tag="breakdown", kw_only=True):
    """All rows of the explorer; with periods, one for each of them in which a row has usage. The fields are those of
    `ExplorerQuery`."""

    resource: ClassVar[Resource] = USAGE
    filters: UsageFilter
    window: Span
    by: tuple[GroupBy, ...]
    periods: tuple[Span, ...] = ()
    before: Span | None = None
    search: str = ""
    sort: SortBy = SortBy.COST
    sort_period: int = 0
    is_ascending: bool = False
    with_users: bool = False

    @classmethod
    def of(cls, query: ExplorerQuery) -> Self:
        fields = {name: getattr(query, name) for name in cls.__struct_fields__}
        return cls(**{**fields, "periods": tuple(query.periods)})

    @property
    def title(self) -> str:
        return f"Usage by {' and '.join(DIMENSION_OF[by].label.lower() for by in self.by)}"

    def table(self, organization: Organization, user: User) -> FileTable:
        """Reading raises InvalidError if there are too many events to read."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        query = ExplorerQuery(organization=organization, **fields)
        names = columns_of(Kind.TEXT, *(by.value for by in query.by))
        credential = columns_of(Kind.TEXT, "credential_name") if GroupBy.CREDENTIAL in query.by else ()
        period = columns_of(Kind.TEXT, "start_date", "end_date") if query.periods else ()
        users = columns_of(Kind.COUNT, "users") if query.with_users and not query.periods else ()
        before = columns_of(Kind.AMOUNT, "previous_cost_usd") if query.before is not None and not query.periods else ()

        def explored(after: str, limit: int) -> ExplorerPage:
            with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
                return explore(replace(query, after=after, limit=limit))

        def read(position: str) -> Part:
            page = explored(position, _EXPLORER_PAGE)
            return Part([values for row in page.rows for values in _explorer_rows(query, row)], page.next_cursor)

        def count(limit: int) -> int:
            return min(explored("", 1).count * max(len(query.periods), 1), limit)

        columns = (*names, *credential, *period, *_FIGURES, *users, *before)
        return FileTable(columns, read, count, organization.calendar.zone, reads_first=True)

    def file_name(self, organization: Organization) -> str:
        return dated_name("-".join((Rows.BREAKDOWN.value, *(by.value for by in self.by))), organization, self.window)


def usage_file(query: UsageQuery, rows: Rows, *, endpoint: str = "", by: GroupBy | None = None) -> FileQuery:
    """Return the file of a query: events or days. `endpoint` filters events only, and `by` splits days only."""
    if rows is Rows.DAYS:
        return DaysFile(filters=query.filters, window=query.window, by=by)
    return RequestsFile(filters=query.filters, window=query.window, received_by=query.now, endpoint=endpoint)


def _days(
    *,
    organization: Organization,
    filters: UsageFilter,
    days: Sequence[date],
    spans: Sequence[Span],
    by: GroupBy | None,
) -> Iterator[Sequence[Row]]:
    with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
        figures: list[list[tuple[Row, Figures]]]
        if by is None:
            figures = [[((), sums)] for sums in totals(organization=organization, filters=filters, windows=spans)]
        else:
            figures = [
                [((key,), sums) for key, sums in groups]
                for groups in groups_by_period(organization=organization, filters=filters, windows=spans, by=by)
            ]
    for day, groups in zip(days, figures, strict=True):
        yield [(day.isoformat(), *key, *_values(sums, _DAY_FIGURES)) for key, sums in groups]


def _explorer_rows(query: ExplorerQuery, row: ExplorerRow) -> Iterator[Row]:
    keys: tuple[object, ...] = row.keys
    if GroupBy.CREDENTIAL in query.by:
        keys = (*keys, row.names[query.by.index(GroupBy.CREDENTIAL)])
    if query.periods:
        for span, figures in zip(query.periods, row.periods, strict=True):
            if figures != ZERO_FIGURES:
                yield (*keys, *_dates(query.organization.calendar, span), *_values(figures, _FIGURES))
        return
    users = (row.users,) if query.with_users else ()
    before = (row.before.cost_usd,) if row.before is not None else ()
    yield (*keys, *_values(row.figures, _FIGURES), *users, *before)


def _dates(calendar: Calendar, span: Span) -> tuple[str, str]:
    """Return the first and the last day of a period, or the start and the end of an hour."""
    first, last = calendar.date_of(span.start), calendar.date_of(span.end - MICROSECOND)
    if calendar.days(first, last) == span:
        return first.isoformat(), last.isoformat()
    return span.start.astimezone(calendar.zone).isoformat(), span.end.astimezone(calendar.zone).isoformat()


def _call_row(call: Call) -> Row:
    return (
        call.occurred_at,
        *(call.id, call.event_id, call.request_id, call.endpoint, call.capability, call.service, call.model),
        *(call.client_id, call.status, call.status_code),
        *(call.prompt_tokens, call.completion_tokens, call.cached_tokens, call.total_tokens),
        *(call.cost_usd, call.is_voided, call.kind, call.model_as_sent, call.provider, call.user_ref, call.team),
        *(call.end_user, call.agent_id, call.environment, call.run_id, call.workflow, call.session_id),
        *(call.execution_id, call.cost_group, call.tool, call.tags, call.credential_name),
    )


def _values(figures: Figures, columns: Sequence[FileColumn]) -> Row:
    return [getattr(figures, column.name) for column in columns]
