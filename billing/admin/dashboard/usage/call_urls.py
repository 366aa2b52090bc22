"""URLs of the request log and the explorer for numbers on the usage page."""

from collections.abc import Callable, Sequence

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from billing.admin.components.datetimes import url_time
from billing.admin.components.urls import url_of_page
from billing.admin.components.usage_form import BY_COST, FILTERS
from billing.reports.usage.figures import DIMENSION_OF, GroupBy
from billing.reports.usage.query import DEFAULT_RANGE, UsageQuery
from billing.types import NO_CREDENTIAL
from costtrack.calendar import Span

_LOG = "request_log"
FilteredURLs = Callable[[dict[str, str]], list[str]]
"""Returns one URL per span for additional filters."""


def urls_of_calls(query: UsageQuery, spans: Sequence[Span]) -> FilteredURLs:
    """Return a function that builds the URLs of the calls in each span, most expensive first. A chart has hundreds of
    them, so the common part is encoded once."""
    path, calendar = reverse(f"admin:{_LOG}"), query.calendar
    times = ({"start": url_time(start, calendar), "end": url_time(end, calendar)} for start, end in spans)
    beginnings = [f"{path}?{urlencode(parameters)}" for parameters in times]

    def filtered_urls(filters: dict[str, str]) -> list[str]:
        ending = urlencode({**_filters(query), **filters, "sort_by": BY_COST})
        return [f"{beginning}&{ending}" for beginning in beginnings]

    return filtered_urls


def calls_url(query: UsageQuery, request: HttpRequest, **filters: str) -> str:
    """Return the URL of the calls in the page's period."""
    return url_of_page(_LOG, request, **{**_filters(query), **filters})


def explore_url(query: UsageQuery, request: HttpRequest, by: GroupBy) -> str:
    """Return the URL of the explorer for the page's period and filters, with a row for every group."""
    period = {} if request.GET.get("range") or request.GET.get("start_date") else {"range": DEFAULT_RANGE.value}
    return url_of_page("explore", request, **{**period, **_filters(query), "group_by": by.value})


def filters_for(by: GroupBy, key: str | None) -> dict[str, str]:
    """Return the request log's filter for a group of usage. Empty for calls without a value and for all others
    (None), which the log cannot filter by."""
    parameter = DIMENSION_OF[by].parameter
    if by is GroupBy.CREDENTIAL and key == "":
        return {parameter: NO_CREDENTIAL}
    return {parameter: key} if key else {}


def _filters(query: UsageQuery) -> dict[str, str]:
    return {name: value for name in FILTERS if (value := getattr(query.filters, name))}
