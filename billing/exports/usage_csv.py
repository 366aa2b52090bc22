"""Usage as CSV, made while it is sent: memory does not grow with the number of rows."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from enum import StrEnum
from io import StringIO

from django.conf import settings

from billing.exports.cells import text_cell
from billing.reports.usage.calls import Call, CallFilter, list_calls
from billing.reports.usage.figures import Figures, UsageFilter
from billing.reports.usage.periods import periods_of
from billing.reports.usage.query import UsageQuery
from billing.reports.usage.series import totals
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
    *("cost_usd", "voided"),
)
_DAY_COLUMNS = (
    *("date", "requests", "errors", "prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens"),
    *("cost_usd", "unpriced_events"),
)
Row = Sequence[object]
INCOMPLETE = "ERROR: this file is incomplete, because it could not be read to the end. Try again, or a shorter period."
"""The only cell of the last row then."""


class Rows(StrEnum):
    """What a row of the file is."""

    REQUESTS = "requests"
    DAYS = "days"


def usage_csv(query: UsageQuery, rows: Rows, *, endpoint: str = "") -> Iterator[bytes]:
    """The file that answers a question: calls newest first, or days oldest first. Only calls are known by endpoint.
    Raises InvalidError when there are too many days."""
    if rows is Rows.DAYS:
        spans = periods_of(query.calendar, query.window, Unit.DAY, param="start_date")
        days = [(query.calendar.date_of(span.start), span) for span in spans]
        return _or_incomplete(days_csv(organization=query.organization, filters=query.filters, days=days))
    filters = CallFilter(query.filters, query.window, endpoint=endpoint, received_by=query.now)
    return _or_incomplete(calls_csv(organization=query.organization, filters=filters))


def _or_incomplete(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The web server ends an answer that fails while it is sent like any other, so the file has to say it itself."""
    try:
        yield from pieces
    except Exception as error:
        yield _lines([[INCOMPLETE]])
        if not is_query_timeout(error):
            raise
        log_canceled_query(export="usage.csv")


def calls_csv(*, organization: Organization, filters: CallFilter) -> Iterator[bytes]:
    """A row for each call, newest first, in pieces of many rows. Each piece is read in a transaction of its own."""
    yield _lines([_CALL_COLUMNS])
    after, is_done = None, False
    while not is_done:
        with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
            page = list_calls(organization=organization, filters=filters, after=after, limit=_PAGE)
        yield _lines(map(_call_row, page.calls))
        after, is_done = page.last, page.last is None


def days_csv(*, organization: Organization, filters: UsageFilter, days: Sequence[tuple[date, Span]]) -> Iterator[bytes]:
    """A row for each day, oldest first."""
    yield _lines([_DAY_COLUMNS])
    with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
        figures = totals(organization=organization, filters=filters, windows=[span for _, span in days])
    yield _lines(_day_row(day, of_day) for (day, _), of_day in zip(days, figures, strict=True))


def file_name(*, organization: Organization, rows: str, window: Span) -> str:
    """`usage-requests-acme-2026-10-04-2026-11-02.csv`; `rows` says what a row is."""
    calendar = organization.calendar
    first, last = calendar.date_of(window.start), calendar.date_of(window.end - timedelta(microseconds=1))
    return f"usage-{rows}-{organization.slug}-{first}-{last}.csv"


def _lines(rows: Iterable[Row]) -> bytes:
    text = StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _call_row(call: Call) -> Row:
    told = (call.event_id, call.request_id, call.endpoint, call.capability, call.service, call.model, call.client_id)
    return (
        iso(call.occurred_at),
        call.id,
        *map(text_cell, told),
        call.status,
        call.status_code,
        call.prompt_tokens,
        call.completion_tokens,
        call.cached_tokens,
        call.total_tokens,
        plain(call.cost_usd) if call.cost_usd is not None else None,
        "true" if call.is_voided else "false",
    )


def _day_row(day: date, figures: Figures) -> Row:
    return (
        day.isoformat(),
        figures.requests,
        figures.errors,
        figures.prompt_tokens,
        figures.completion_tokens,
        figures.cached_tokens,
        figures.total_tokens,
        plain(figures.cost_usd),
        figures.unpriced_events,
    )
