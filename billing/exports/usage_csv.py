"""Usage as CSV, generated while it is sent, so that memory does not grow with the number of rows."""

import csv
import json
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from enum import StrEnum
from io import StringIO
from itertools import chain

from django.conf import settings
from django.http import StreamingHttpResponse

from billing.exports.cells import text_cell
from billing.reports.usage.breakdown import groups_by_period
from billing.reports.usage.calls import Call, CallFilter, list_calls
from billing.reports.usage.figures import DIMENSION_OF, Figures, GroupBy, UsageFilter
from billing.reports.usage.query import UsageQuery, split_into_periods
from billing.reports.usage.totals import totals
from costtrack.calendar import Span, Unit
from costtrack.clock import iso
from costtrack.money import plain
from costtrack.tenancy import tenant_scope
from costtrack.timeouts import is_query_timeout, log_canceled_query, statement_timeout
from organizations.models import Organization

_PAGE = 2_000

_CALL_COLUMNS = (
    *("time", "id", "event_id", "request_id", "endpoint", "capability", "service", "model", "client_id"),
    *("status", "status_code", "prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens"),
    *("cost_usd", "voided", "kind", "sent_model", "provider", "user_id", "team", "end_user", "agent_id", "environment"),
    *("run_id", "workflow_id", "session_id", "execution_id", "cost_group", "tool", "tags"),
)
_FIGURES = (
    *("requests", "errors", "prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens"),
    *("cost_usd", "unpriced_events"),
)
Row = Sequence[object]
INCOMPLETE = "ERROR: this file is incomplete. Try again, or choose a shorter period."
"""The only cell of the last row of an incomplete file."""


class Rows(StrEnum):
    """The granularity of rows."""

    REQUESTS = "requests"
    DAYS = "days"


def csv_response(
    query: UsageQuery, rows: Rows, *, endpoint: str = "", by: GroupBy | None = None, with_bom: bool = False
) -> StreamingHttpResponse:
    """Return a response that streams the file of a query, for Excel with a byte order mark, without which it misreads
    UTF-8. Raises InvalidError if there are too many days."""
    name = file_name(organization=query.organization, rows=rows, window=query.window)
    return StreamingHttpResponse(
        chain([BOM_UTF8] if with_bom else [], usage_csv(query, rows, endpoint=endpoint, by=by)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def usage_csv(query: UsageQuery, rows: Rows, *, endpoint: str = "", by: GroupBy | None = None) -> Iterator[bytes]:
    """Return the file of a query: events newest first, or days oldest first. `endpoint` filters events only, and `by`
    splits days only. Raises InvalidError if there are too many days."""
    if rows is Rows.DAYS:
        spans = split_into_periods(query.calendar, query.window, Unit.DAY, param="start_date")
        days = [(query.calendar.date_of(span.start), span) for span in spans]
        return mark_if_incomplete(days_csv(organization=query.organization, filters=query.filters, days=days, by=by))
    filters = CallFilter(query.filters, query.window, endpoint=endpoint, received_by=query.now, has_all_kinds=True)
    return mark_if_incomplete(calls_csv(organization=query.organization, filters=filters))


def mark_if_incomplete(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Append an error row if reading fails, because the client cannot distinguish a truncated response from a complete
    one."""
    try:
        yield from chunks
    except Exception as error:
        yield csv_lines([[INCOMPLETE]])
        if not is_query_timeout(error):
            raise
        log_canceled_query(export="usage.csv")


def calls_csv(*, organization: Organization, filters: CallFilter) -> Iterator[bytes]:
    """Yield one row per event, newest first, in chunks: calls, and what else has a cost, so that the rows add up to the
    figures of the page. Each chunk is read in a separate transaction."""
    yield csv_lines([_CALL_COLUMNS])
    after, is_done = None, False
    while not is_done:
        with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
            page = list_calls(organization=organization, filters=filters, after=after, limit=_PAGE)
        yield csv_lines(map(_call_row, page.rows))
        after, is_done = page.last, page.last is None


def days_csv(
    *,
    organization: Organization,
    filters: UsageFilter,
    days: Sequence[tuple[date, Span]],
    by: GroupBy | None = None,
) -> Iterator[bytes]:
    """Yield one row per day, oldest first; with `by` one for each of its values with usage on that day."""
    spans = [span for _, span in days]
    yield csv_lines([("date", *([DIMENSION_OF[by].parameter] if by is not None else []), *_FIGURES)])
    with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
        figures: list[list[tuple[Row, Figures]]]
        if by is None:
            figures = [[((), sums)] for sums in totals(organization=organization, filters=filters, windows=spans)]
        else:
            figures = [
                [((text_cell(key),), sums) for key, sums in groups]
                for groups in groups_by_period(organization=organization, filters=filters, windows=spans, by=by)
            ]
    for (day, _), groups in zip(days, figures, strict=True):
        yield csv_lines((day.isoformat(), *key, *_figures_cells(sums)) for key, sums in groups)


def file_name(*, organization: Organization, rows: str, window: Span) -> str:
    """Return a file name such as `usage-requests-acme-2026-10-04-2026-11-02.csv`."""
    calendar = organization.calendar
    first, last = calendar.date_of(window.start), calendar.date_of(window.end - timedelta(microseconds=1))
    return f"usage-{rows}-{organization.slug}-{first}-{last}.csv"


def csv_lines(rows: Iterable[Row]) -> bytes:
    """Return rows of cells as lines of a CSV file."""
    text = StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _call_row(call: Call) -> Row:
    texts = (call.event_id, call.request_id, call.endpoint, call.capability, call.service, call.model, call.client_id)
    return (
        iso(call.occurred_at),
        call.id,
        *map(text_cell, texts),
        call.status,
        call.status_code,
        call.prompt_tokens,
        call.completion_tokens,
        call.cached_tokens,
        call.total_tokens,
        plain(call.cost_usd) if call.cost_usd is not None else None,
        "true" if call.is_voided else "false",
        call.kind,
        *map(text_cell, (call.model_as_sent, call.provider, call.user_ref, call.team, call.end_user, call.agent_id)),
        *map(text_cell, (call.environment, call.run_id, call.workflow, call.session_id, call.execution_id)),
        *map(text_cell, (call.cost_group, call.tool, json.dumps(call.tags, ensure_ascii=False) if call.tags else "")),
    )


def _figures_cells(figures: Figures) -> Row:
    return (
        figures.requests,
        figures.errors,
        figures.prompt_tokens,
        figures.completion_tokens,
        figures.cached_tokens,
        figures.total_tokens,
        plain(figures.cost_usd),
        figures.unpriced_events,
    )
