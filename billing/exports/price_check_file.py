"""The file of calls whose reported and computed costs differ."""

from typing import ClassVar

import msgspec
from django.conf import settings

from billing.exports.table_files import FileTable, Part, Row, columns_of, dated_name
from billing.reports.cursors import cursor_of, position_of
from billing.reports.price_check.differences import CallDifference, call_differences
from billing.reports.price_check.selection import CallSelection
from costtrack.file_columns import Kind
from costtrack.tenancy import tenant_scope
from costtrack.timeouts import statement_timeout
from organizations.models import Organization, User
from organizations.permissions import USAGE, Resource

_PAGE = 500
_COLUMNS = (
    *columns_of(Kind.TIME, "time"),
    *columns_of(Kind.TEXT, "id", "event_id", "service", "model", "cost_basis", "reported_basis"),
    *columns_of(Kind.AMOUNT, "reported_usd", "computed_usd", "difference_usd"),
    *columns_of(Kind.TEXT, "percent", "cause", "cause_detail"),
)


class PriceCheckFile(msgspec.Struct, frozen=True, tag="price-check", kw_only=True):
    """The calls of a selection that differ, newest first."""

    resource: ClassVar[Resource] = USAGE
    title: ClassVar[str] = "Price check"
    selection: CallSelection

    def table(self, organization: Organization, user: User) -> FileTable:
        def read(position: str) -> Part:
            with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
                page = call_differences(
                    organization=organization, selection=self.selection, after=position_of(position), limit=_PAGE
                )
            return Part(list(map(_row, page.rows)), cursor_of(page.last))

        # How many calls differ is only known when all of them are read, of which there are few enough for a download.
        return FileTable(_COLUMNS, read, lambda _limit: 0, organization.calendar.zone)

    def file_name(self, organization: Organization) -> str:
        return dated_name("price-check", organization, self.selection.window)


def _row(difference: CallDifference) -> Row:
    event, percent = difference.event, difference.percent
    return (
        event.occurred_at,
        event.pk,
        *(event.event_id, event.service, event.model, event.cost_basis),
        difference.reported_basis.value,
        *(difference.reported_usd, difference.computed_usd, difference.difference_usd),
        f"{percent:.3f}" if percent is not None else None,
        difference.cause.code.value,
        difference.cause.detail,
    )
