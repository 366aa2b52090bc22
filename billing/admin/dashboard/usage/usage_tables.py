"""The usage page's tables by capability, model, credential, user and tag, most expensive first."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.http import HttpRequest

from billing.admin.components import formatting
from billing.admin.components.percent_bar import Share, share_of
from billing.admin.components.urls import url_of_page, url_with
from billing.admin.dashboard.request_log.request_log_urls import calls_url, filters_for
from billing.admin.dashboard.usage.usage_metrics import percent
from billing.admin.dashboard.usage.usage_series import WITHOUT
from billing.reports.usage import breakdown
from billing.reports.usage.breakdown import LabelUsage, labels
from billing.reports.usage.figures import ZERO_FIGURES, CredentialUsage, Figures, GroupBy
from billing.reports.usage.figures import Share as UsageShare
from billing.reports.usage.query import UsageQuery
from costtrack.money import usd

_MAX_ROWS = 10
_TAG = "Tag"
_NOT_BY_FILTER = (
    "Usage by user can only be filtered by credential and model. Remove the other filters to see it.",
    "Usage by tag cannot be filtered. Remove the filters to see it.",
)


@dataclass(frozen=True, slots=True)
class Row:
    """`url` filters the page or links to the item's page; `calls_url` links to its calls. Each is empty if it does not
    exist, as are `tokens` and `error_rate` if they are not known."""

    name: str
    url: str
    calls_url: str
    subtitle: str
    requests: str
    tokens: str
    error_rate: str
    cost: str
    share: Share


@dataclass(frozen=True, slots=True)
class Table:
    """`column` heads the first column. `note` says why there are no rows, or what is not among them."""

    title: str
    column: str
    rows: Sequence[Row]
    note: str = ""


def by_capability(query: UsageQuery, total: Figures, request: HttpRequest) -> Table:
    items = breakdown.capabilities(organization=query.organization, filters=query.filters, window=query.window)
    rows = _rows(items, GroupBy.CAPABILITY, query, total, request)
    return Table("API usage by capability", "Capability", rows, "" if rows else "No usage.")


def breakdowns(query: UsageQuery, total: Figures, request: HttpRequest) -> list[Table]:
    items = breakdown.models(organization=query.organization, filters=query.filters, window=query.window)
    models = _rows(items, GroupBy.MODEL, query, total, request)
    by_label = labels(organization=query.organization, filters=query.filters, window=query.window, limit=_MAX_ROWS)
    of_users, of_tags = _NOT_BY_FILTER
    users = [_user(item, query, total, request) for item in by_label.users] if by_label.users is not None else None
    tags = [_tag(item, query, total, request) for item in by_label.tags] if by_label.tags is not None else None
    return [
        Table("Top models", "Model", models, "" if models else "No models were used."),
        _credentials(query, total, request),
        _labels("Top users", "User", users, of_users),
        _labels("Top tags", _TAG, tags, of_tags),
    ]


def _rows(
    items: Sequence[UsageShare], by: GroupBy, query: UsageQuery, total: Figures, request: HttpRequest
) -> list[Row]:
    rows = [
        _row(item.key or WITHOUT[by], item.figures, total, *_urls(filters_for(by, item.key), query, request))
        for item in items[:_MAX_ROWS]
    ]
    if others := items[_MAX_ROWS:]:
        rows.append(_row(f"{len(others)} others", sum((item.figures for item in others), ZERO_FIGURES), total))
    return rows


def _urls(filters: dict[str, str], query: UsageQuery, request: HttpRequest) -> tuple[str, str]:
    """Return the URL of the filtered page (or of the calls, if the page is filtered already) and of the calls."""
    if not filters:
        return "", ""
    calls = calls_url(query, request, **filters)
    (name,) = filters
    return calls if getattr(query.filters, name) else url_with(request, **filters), calls


def _credentials(query: UsageQuery, total: Figures, request: HttpRequest) -> Table:
    items = breakdown.credentials(organization=query.organization, filters=query.filters, window=query.window)
    used = [item for item in items if item.figures != ZERO_FIGURES]
    rows = [_credential(item, query, total, request) for item in used[:_MAX_ROWS]]
    if others := used[_MAX_ROWS:]:
        rows.append(_row(f"{len(others)} others", sum((item.figures for item in others), ZERO_FIGURES), total))
    unused = len(items) - len(used)
    note = f"{unused:,} more {'was' if unused == 1 else 'were'} not used." if unused else ""
    return Table("API credentials", "Credential", rows, note if rows else "No credentials were used.")


def _credential(item: CredentialUsage, query: UsageQuery, total: Figures, request: HttpRequest) -> Row:
    name = item.name or item.client_id or WITHOUT[GroupBy.CREDENTIAL]
    urls = _urls(filters_for(GroupBy.CREDENTIAL, item.client_id), query, request)
    return _row(name, item.figures, total, *urls, subtitle=item.client_id)


def _labels(title: str, column: str, rows: Sequence[Row] | None, not_known: str) -> Table:
    if rows is None:
        return Table(title, column, (), not_known)
    if not rows:
        return Table(title, column, (), f"No event has a {column.lower()}.")
    notes = [f"Top {_MAX_ROWS} by cost."] if len(rows) == _MAX_ROWS else []
    if column == _TAG and len(rows) > 1:
        notes.append("A call with several tags counts in full for each tag.")
    return Table(title, column, rows, " ".join(notes))


def _user(item: LabelUsage, query: UsageQuery, total: Figures, request: HttpRequest) -> Row:
    url = calls_url(query, request, user=item.name) if item.name else ""
    return _label(item, total, url=url, calls_url=url)


def _tag(item: LabelUsage, query: UsageQuery, total: Figures, request: HttpRequest) -> Row:
    """Return the row of a tag, linked to its page, which counts days in UTC."""
    if not item.name:
        return _label(item, total)
    url = url_of_page("tags", request, tag=item.name)
    return _label(item, total, url=url, calls_url=calls_url(query, request, tag=item.name))


def _label(item: LabelUsage, total: Figures, *, url: str = "", calls_url: str = "") -> Row:
    return Row(
        name=item.name or "Without a user",
        url=url,
        calls_url=calls_url if item.requests else "",
        subtitle="",
        requests=formatting.count(item.requests),
        tokens="",
        error_rate="",
        cost=usd(item.cost_usd),
        share=share_of(item.cost_usd, total.cost_usd),
    )


def _row(name: str, figures: Figures, total: Figures, url: str = "", calls_url: str = "", *, subtitle: str = "") -> Row:
    return Row(
        name=name,
        url=url,
        calls_url=calls_url if figures.requests else "",
        subtitle=subtitle,
        requests=formatting.count(figures.requests),
        tokens=formatting.count(figures.total_tokens),
        error_rate=percent(figures.error_rate),
        cost=usd(figures.cost_usd),
        share=share_of(figures.cost_usd, max(total.cost_usd, Decimal(0))),
    )
