"""Calls whose reported and computed costs differ, as CSV, generated while it is sent."""

from collections.abc import Iterator

from django.conf import settings
from django.http import StreamingHttpResponse

from billing.exports.cells import text_cell
from billing.exports.table_files import Row, csv_lines, mark_if_incomplete
from billing.exports.usage_files import file_name
from billing.reports.price_check.differences import CallDifference, call_differences
from billing.reports.price_check.selection import CallSelection
from costtrack.clock import iso
from costtrack.money import plain
from costtrack.tenancy import tenant_scope
from costtrack.timeouts import statement_timeout
from organizations.models import Organization

_PAGE = 500
_COLUMNS = (
    *("time", "id", "event_id", "service", "model", "cost_basis", "reported_basis"),
    *("reported_usd", "computed_usd", "difference_usd", "percent", "cause", "cause_detail"),
)


def differences_response(*, organization: Organization, selection: CallSelection) -> StreamingHttpResponse:
    """Return a response that streams the calls of a selection that differ, newest first."""
    name = file_name(organization=organization, rows="price-check", window=selection.window)
    return StreamingHttpResponse(
        mark_if_incomplete(_chunks(organization, selection)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"},
    )


def _chunks(organization: Organization, selection: CallSelection) -> Iterator[bytes]:
    yield csv_lines([_COLUMNS])
    after, is_done = None, False
    while not is_done:
        with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
            page = call_differences(organization=organization, selection=selection, after=after, limit=_PAGE)
        yield csv_lines(map(_row, page.rows))
        after, is_done = page.last, page.last is None


def _row(difference: CallDifference) -> Row:
    event, percent = difference.event, difference.percent
    return (
        iso(event.occurred_at),
        event.pk,
        *map(text_cell, (event.event_id, event.service, event.model)),
        event.cost_basis,
        difference.reported_basis.value,
        plain(difference.reported_usd),
        plain(difference.computed_usd),
        plain(difference.difference_usd),
        f"{percent:.3f}" if percent is not None else "",
        difference.cause.code.value,
        text_cell(difference.cause.detail),
    )
