"""Usage as files: events, days, and rows of the explorer. All of them add up to the summary of the same filters."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from enum import StrEnum

from django.conf import settings
from django.http import StreamingHttpResponse

from billing.exports.table_files import FileColumn, FileFormat, FileTable, Kind, Row, columns_of, file_response
from billing.reports.usage.breakdown import groups_by_period
from billing.reports.usage.calls import Call, CallFilter, list_calls
from billing.reports.usage.explorer import ExplorerPage, ExplorerQuery, ExplorerRow, explore
from billing.reports.usage.figures import DIMENSION_OF, ZERO_FIGURES, Figures, GroupBy, UsageFilter
from billing.reports.usage.query import UsageQuery, split_into_periods
from billing.reports.usage.totals import totals
from costtrack.calendar import Calendar, Span, Unit
from costtrack.clock import MICROSECOND
from costtrack.tenancy import tenant_scope
from costtrack.timeouts import statement_timeout
from organizations.models import Organization

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


def usage_response(
    query: UsageQuery,
    rows: Rows,
    *,
    endpoint: str = "",
    by: GroupBy | None = None,
    file_format: FileFormat = FileFormat.CSV,
    with_bom: bool = False,
) -> StreamingHttpResponse:
    """Return a response that streams the file of a query: events newest first, or days oldest first. `endpoint` filters
    events only, and `by` splits days only. Raises InvalidError if there are too many days."""
    if rows is Rows.DAYS:
        table = days_table(query, by=by)
    else:
        filters = CallFilter(query.filters, query.window, endpoint=endpoint, received_by=query.now, has_all_kinds=True)
        table = calls_table(organization=query.organization, filters=filters)
    name = file_name(organization=query.organization, rows=rows, window=query.window)
    return file_response(table, name, file_format, with_bom=with_bom)


def explorer_response(
    query: ExplorerQuery, *, file_format: FileFormat, with_bom: bool = False
) -> StreamingHttpResponse:
    """Return a response that streams all rows of the explorer. Raises InvalidError if there are too many events to
    read."""
    rows = "-".join((Rows.BREAKDOWN.value, *(by.value for by in query.by)))
    name = file_name(organization=query.organization, rows=rows, window=query.window)
    return file_response(explorer_table(query), name, file_format, with_bom=with_bom)


def calls_table(*, organization: Organization, filters: CallFilter) -> FileTable:
    """Return one row per event, newest first: calls, and what else has a cost, so that the rows add up to the figures
    of the page. Each chunk is read in a separate transaction."""

    def chunks() -> Iterator[Sequence[Row]]:
        after, is_done = None, False
        while not is_done:
            with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
                page = list_calls(organization=organization, filters=filters, after=after, limit=_PAGE)
            yield list(map(_call_row, page.rows))
            after, is_done = page.last, page.last is None

    return FileTable(_CALL_COLUMNS, chunks())


def days_table(query: UsageQuery, *, by: GroupBy | None = None) -> FileTable:
    """Return one row per day, oldest first; with `by` one for each of its values with usage on that day. Raises
    InvalidError if there are too many days."""
    spans = split_into_periods(query.calendar, query.window, Unit.DAY, param="start_date")
    days = [query.calendar.date_of(span.start) for span in spans]
    key = columns_of(Kind.TEXT, DIMENSION_OF[by].parameter) if by is not None else ()
    chunks = _days(organization=query.organization, filters=query.filters, days=days, spans=spans, by=by)
    return FileTable((*columns_of(Kind.TEXT, "date"), *key, *_DAY_FIGURES), chunks)


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


def explorer_table(query: ExplorerQuery) -> FileTable:
    """Return all rows of the explorer; with periods, one for each of them in which a row has usage. The first ones are
    read already. Raises InvalidError if there are too many events to read."""
    names = columns_of(Kind.TEXT, *(by.value for by in query.by))
    credential = columns_of(Kind.TEXT, "credential_name") if GroupBy.CREDENTIAL in query.by else ()
    period = columns_of(Kind.TEXT, "start_date", "end_date") if query.periods else ()
    users = columns_of(Kind.COUNT, "users") if query.with_users and not query.periods else ()
    before = columns_of(Kind.AMOUNT, "previous_cost_usd") if query.before is not None and not query.periods else ()
    columns = (*names, *credential, *period, *_FIGURES, *users, *before)

    def read(after: str) -> ExplorerPage:
        with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(query.organization.pk):
            return explore(replace(query, after=after, limit=_EXPLORER_PAGE))

    def chunks(page: ExplorerPage) -> Iterator[Sequence[Row]]:
        yield [values for row in page.rows for values in _explorer_rows(query, row)]
        while page.next_cursor is not None:
            page = read(page.next_cursor)
            yield [values for row in page.rows for values in _explorer_rows(query, row)]

    return FileTable(columns, chunks(read("")))


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


def file_name(*, organization: Organization, rows: str, window: Span) -> str:
    """Return a file name without its suffix, such as `usage-requests-acme-2026-10-04-2026-11-02`."""
    calendar = organization.calendar
    first, last = calendar.date_of(window.start), calendar.date_of(window.end - MICROSECOND)
    return f"usage-{rows}-{organization.slug}-{first}-{last}"


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
