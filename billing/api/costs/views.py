"""What the endpoints of documents 002 and 003 have in common."""

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from billing.api.headers import AS_OF, UNPRICED
from billing.api.operations import ReportEndpoint
from billing.reports.sessions.session_rows import Totals
from costtrack.clock import iso
from costtrack.error_formats import DETAIL, Dialect


class CostsEndpoint(ReportEndpoint):
    """A mixin of views and viewsets."""

    dialect: ClassVar[Dialect] = DETAIL
    ignores_unknown_parameters: ClassVar[bool] = True


def headers_of(as_of: datetime, totals: Iterable[Totals]) -> dict[str, str]:
    """Build the headers. `as_of` must be taken before the totals are read: they include everything acknowledged until
    then."""
    return {AS_OF.name: iso(as_of), UNPRICED.name: str(sum(total.unpriced_events for total in totals))}
