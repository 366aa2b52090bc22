"""The usage page's tables by capability, model, credential, user and tag, most expensive first."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.percent_bar import percent_bar
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import url_of_page, url_with
from billing.admin.dashboard.usage.call_urls import calls_url, filters_for
from billing.admin.dashboard.usage.usage_chart import WITHOUT
from billing.admin.dashboard.usage.usage_metrics import percent
from billing.reports.spend.totals import NamedSpend
from billing.reports.usage import breakdown
from billing.reports.usage.breakdown import labels, shares
from billing.reports.usage.figures import DIMENSION_OF, ZERO_FIGURES, CredentialUsage, Figures, GroupBy
from billing.reports.usage.query import UsageQuery
from costtrack.money import ZERO, usd

_MAX_ROWS = 10
_TAG = "Tag"
_TOO_MANY_EVENTS = "Too many events to show tags. Choose a shorter period."
_WITH_TABLE = (GroupBy.MODEL, GroupBy.CAPABILITY, GroupBy.CREDENTIAL, GroupBy.STATUS, GroupBy.USER)
"""What always has a table, or needs none."""


@dataclass(frozen=True, slots=True)
class Row:
    """`url` filters the page or links to the item's page; `calls_url` links to its calls. Each is empty if it does not
    exist. `figures` are zero if only the requests and the cost are known."""

    name: str
    requests: int
    cost_usd: Decimal
    figures: Figures = ZERO_FIGURES
    url: str = ""
    calls_url: str = ""
    subtitle: str = ""


def _table(
    title: str,
    column: str,
    rows: Sequence[Row],
    total: Figures,
    *,
    note: str = "",
    empty: str = "",
    is_wide: bool = False,
) -> Table[Row]:
    """Return a table; a wide one also has the tokens and the error rate."""
    all_cost = max(total.cost_usd, ZERO)
    wide = (
        Column[Row]("Tokens", lambda row: formatting.count(row.figures.total_tokens), is_number=True),
        Column[Row]("Error rate", lambda row: percent(row.figures.error_rate), is_number=True),
    )
    columns = (
        Column[Row](column, lambda row: formatting.two_lines(formatting.link_or_text(row.url, row.name), row.subtitle)),
        Column[Row]("Requests", _requests, is_number=True),
        *(wide if is_wide else ()),
        Column[Row]("Cost", lambda row: usd(row.cost_usd), is_number=True),
        Column[Row]("Share of cost", lambda row: percent_bar(row.cost_usd, all_cost), css="ct-usage-share"),
    )
    return Table(title, columns, rows, css="ct-usage-table", note=note, empty=empty)


def _requests(row: Row) -> SafeString | str:
    number = formatting.count(row.requests)
    if not row.calls_url or not row.requests:
        return number
    label = f"{number} requests of {row.name}"
    return format_html('<a class="ct-link" href="{}" aria-label="{}">{}</a>', row.calls_url, label, number)


def by_capability(query: UsageQuery, total: Figures, request: HttpRequest) -> Table[Row]:
    rows = _rows(GroupBy.CAPABILITY, query, request)
    return _table("API usage by capability", "Capability", rows, total, empty="No usage.", is_wide=True)


def breakdowns(query: UsageQuery, total: Figures, request: HttpRequest, *, by: GroupBy | None) -> list[Table[Row]]:
    """Return the tables. `by` is what the chart is stacked by, which has a table too."""
    models = _rows(GroupBy.MODEL, query, request)
    by_label = labels(organization=query.organization, filters=query.filters, window=query.window, limit=_MAX_ROWS)
    users = [_user(item, query, request) for item in by_label.users]
    tags = [_tag(item, query, request) for item in by_label.tags] if by_label.tags is not None else None
    chosen = [] if by is None or by in _WITH_TABLE else [_chosen(by, query, total, request)]
    return [
        *chosen,
        _table("Top models", "Model", models, total, empty="No models were used."),
        _credentials(query, total, request),
        _labels("Top users", "User", users, total),
        _labels("Top tags", _TAG, tags, total, _TOO_MANY_EVENTS),
    ]


def _chosen(by: GroupBy, query: UsageQuery, total: Figures, request: HttpRequest) -> Table[Row]:
    label = DIMENSION_OF[by].label
    return _table(f"Top {label.lower()}s", label, _rows(by, query, request), total, empty="No usage.")


def _rows(by: GroupBy, query: UsageQuery, request: HttpRequest) -> list[Row]:
    items = shares(organization=query.organization, filters=query.filters, window=query.window, by=by)
    rows = [
        _row(item.key or WITHOUT[by], item.figures, *_urls(filters_for(by, item.key), query, request))
        for item in items[:_MAX_ROWS]
    ]
    return [*rows, *_others([item.figures for item in items[_MAX_ROWS:]])]


def _others(figures: Sequence[Figures]) -> list[Row]:
    """Return one row for all that are left, if any."""
    return [_row(f"{len(figures)} others", sum(figures, ZERO_FIGURES))] if figures else []


def _urls(filters: dict[str, str], query: UsageQuery, request: HttpRequest) -> tuple[str, str]:
    """Return the URL of the filtered page (or of the calls, if the page is filtered already) and of the calls."""
    if not filters:
        return "", ""
    calls = calls_url(query, request, **filters)
    (name,) = filters
    return calls if getattr(query.filters, name) else url_with(request, **filters), calls


def _credentials(query: UsageQuery, total: Figures, request: HttpRequest) -> Table[Row]:
    items = breakdown.credentials(organization=query.organization, filters=query.filters, window=query.window)
    used = [item for item in items if item.figures != ZERO_FIGURES]
    rows = [_credential(item, query, request) for item in used[:_MAX_ROWS]]
    rows += _others([item.figures for item in used[_MAX_ROWS:]])
    unused = len(items) - len(used)
    note = f"{unused:,} more {'was' if unused == 1 else 'were'} not used." if unused and rows else ""
    return _table("API credentials", "Credential", rows, total, note=note, empty="No credentials were used.")


def _credential(item: CredentialUsage, query: UsageQuery, request: HttpRequest) -> Row:
    name = item.name or item.client_id or WITHOUT[GroupBy.CREDENTIAL]
    urls = _urls(filters_for(GroupBy.CREDENTIAL, item.client_id), query, request)
    return _row(name, item.figures, *urls, subtitle=item.client_id)


def _labels(title: str, column: str, rows: Sequence[Row] | None, total: Figures, not_known: str = "") -> Table[Row]:
    if rows is None:
        return _table(title, column, (), total, empty=not_known)
    notes = [f"Top {_MAX_ROWS} by cost."] if len(rows) == _MAX_ROWS else []
    if column == _TAG and len(rows) > 1:
        notes.append("A call with several tags counts in full for each tag.")
    return _table(title, column, rows, total, note=" ".join(notes), empty=f"No events with a {column.lower()}.")


def _user(item: NamedSpend, query: UsageQuery, request: HttpRequest) -> Row:
    urls = _urls(filters_for(GroupBy.USER, item.name), query, request)
    return Row(item.name or WITHOUT[GroupBy.USER], item.calls, item.spend, ZERO_FIGURES, *urls)


def _tag(item: NamedSpend, query: UsageQuery, request: HttpRequest) -> Row:
    """Return the row of a tag, linked to its page, which counts days in UTC."""
    url = url_of_page("tags", request, tag=item.name)
    return Row(item.name, item.calls, item.spend, url=url, calls_url=calls_url(query, request, tag=item.name))


def _row(name: str, figures: Figures, url: str = "", calls_url: str = "", *, subtitle: str = "") -> Row:
    return Row(name, figures.requests, figures.cost_usd, figures, url, calls_url, subtitle)
