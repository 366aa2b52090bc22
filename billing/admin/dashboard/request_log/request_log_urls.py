"""From numbers of the usage page to the calls behind them: addresses of the request log."""

from collections.abc import Callable, Sequence

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from billing.admin.components.local_times import text_of
from billing.admin.components.urls import url_of_page
from billing.admin.components.usage_form import FILTERS
from billing.admin.dashboard.request_log.request_log_form import BY_COST
from billing.reports.usage.figures import NO_CREDENTIAL, GroupBy
from billing.reports.usage.query import UsageQuery
from costtrack.calendar import Span

_LOG = "request_log"
_PARAMETERS = {
    GroupBy.MODEL: "model",
    GroupBy.CAPABILITY: "capability",
    GroupBy.CREDENTIAL: "client_id",
    GroupBy.STATUS: "status",
}


Narrowed = Callable[[dict[str, str]], list[str]]
"""Addresses, one for each of some spans, narrowed to a part of what is shown."""


def calls_between(query: UsageQuery, spans: Sequence[Span]) -> Narrowed:
    """The calls of each of some short spans, the most expensive first. (A chart has hundreds of such addresses, so what
    they have in common is written once.)"""
    path, calendar = reverse(f"admin:{_LOG}"), query.calendar
    times = ({"start": text_of(start, calendar), "end": text_of(end, calendar)} for start, end in spans)
    beginnings = [f"{path}?{urlencode(one)}" for one in times]

    def narrowed(part: dict[str, str]) -> list[str]:
        ending = urlencode({**_filters(query), **part, "sort_by": BY_COST})
        return [f"{beginning}&{ending}" for beginning in beginnings]

    return narrowed


def calls_of(query: UsageQuery, request: HttpRequest, **parts: str) -> str:
    """The calls of the page's own period."""
    return url_of_page(_LOG, request, **{**_filters(query), **parts})


def part_of(by: GroupBy, key: str | None) -> dict[str, str]:
    """The parameter of the log for a value that usage is grouped by. The log cannot be narrowed to what has no model or
    capability, nor to all others (None)."""
    if by is GroupBy.CREDENTIAL and key == "":
        return {_PARAMETERS[by]: NO_CREDENTIAL}
    return {_PARAMETERS[by]: key} if key else {}


def _filters(query: UsageQuery) -> dict[str, str]:
    return {name: value for name in FILTERS if (value := getattr(query.filters, name))}
