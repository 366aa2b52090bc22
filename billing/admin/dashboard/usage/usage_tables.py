"""The table below the usage page's chart: the groups of the chart with all their figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.percent_bar import percent_bar
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url, url_with
from billing.admin.dashboard.usage.call_urls import calls_url, explore_url, filters_for
from billing.admin.dashboard.usage.usage_chart import MAX_GROUPS, WITHOUT
from billing.admin.dashboard.usage.usage_metrics import percent
from billing.reports.usage.figures import DIMENSION_OF, Figures, GroupBy, Series
from billing.reports.usage.query import UsageQuery
from costtrack.file_columns import FileLinks
from costtrack.money import ZERO


@dataclass(frozen=True, slots=True)
class Row:
    """`url` filters the page, or leads to the calls if it is filtered already, and of all others to the explorer;
    `calls_url` leads to the calls. Each is empty if it does not exist."""

    name: str
    figures: Figures
    url: str = ""
    calls_url: str = ""


def breakdown(
    query: UsageQuery, by: GroupBy, groups: Sequence[Series], total: Figures, request: HttpRequest, file: FileLinks
) -> Table[Row]:
    """Return the table of the groups, in the order of the chart. `file` has all of them."""
    rows = [_row(by, group, query, request) for group in groups]
    label, all_cost = DIMENSION_OF[by].label, max(total.cost_usd, ZERO)
    columns = (
        Column[Row](label, lambda row: formatting.link_or_text(row.url, formatting.name(row.name, 36))),
        Column[Row]("Cost", lambda row: cost_cell(row.figures), is_number=True),
        Column[Row]("Share of cost", lambda row: percent_bar(row.figures.cost_usd, all_cost), css="ct-usage-share"),
        Column[Row]("Requests", _requests, is_number=True),
        Column[Row]("Tokens", lambda row: formatting.compact(row.figures.total_tokens), is_number=True),
        Column[Row]("Error rate", lambda row: percent(row.figures.error_rate), is_number=True),
    )
    note = f"The {MAX_GROUPS} largest, and the sum of all others." if len(groups) > MAX_GROUPS else ""
    return Table(f"By {label.lower()}", columns, rows, css="ct-usage-table", note=note, file=file)


def _row(by: GroupBy, group: Series, query: UsageQuery, request: HttpRequest) -> Row:
    filters = filters_for(by, group.key)
    if not filters:
        url = explore_url(query, request, by) if group.key is None else ""
        return Row(group.name or WITHOUT[by], group.total, url)
    calls = calls_url(query, request, **filters)
    (parameter,) = filters
    url = calls if getattr(query.filters, parameter) else url_with(request, **filters)
    return Row(group.name or WITHOUT[by], group.total, url, calls)


def cost_cell(figures: Figures) -> SafeString | str:
    """Return the cost with all digits in its tooltip, and how many events it does not include because they have no
    price."""
    unpriced = figures.unpriced_events
    cost = formatting.cost(figures.cost_usd, unpriced)
    if not unpriced:
        return format_html('<span title="{}">{}</span>', formatting.exact(figures.cost_usd), cost)
    text = cost if cost == formatting.NO_PRICE else f"{formatting.count(unpriced)} without a price"
    review = formatting.link(admin_url("billing_unpricedevent_changelist"), text)
    return review if cost == formatting.NO_PRICE else formatting.two_lines(cost, review)


def _requests(row: Row) -> SafeString | str:
    number = formatting.count(row.figures.requests)
    if not row.calls_url or not row.figures.requests:
        return number
    label = f"{formatting.counted(row.figures.requests, 'request')} of {row.name}"
    return format_html('<a class="ct-link" href="{}" aria-label="{}">{}</a>', row.calls_url, label, number)
