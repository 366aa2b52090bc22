"""The usage page's tables: by capability, model, credential, user and tag, the dearest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.http import HttpRequest

from billing.admin.components import formatting
from billing.admin.components.percent_bar import Share, share_of
from billing.admin.components.urls import url_of_page, url_with
from billing.admin.dashboard.request_log.request_log_urls import calls_of, part_of
from billing.admin.dashboard.usage.usage_metrics import percent
from billing.admin.dashboard.usage.usage_series import WITHOUT
from billing.reports.usage import breakdown
from billing.reports.usage.figures import NOTHING, CredentialUsage, Figures, GroupBy
from billing.reports.usage.figures import Share as Part
from billing.reports.usage.labels import Labelled, labels
from billing.reports.usage.query import UsageQuery
from costtrack.money import usd

_MAX_ROWS = 10
_TAG = "Tag"
_NOT_BY_FILTER = (
    "Users are known by credential and model, and no further. Take the other filters away to see them.",
    "Tags are known of all usage together. Take the filters away to see them.",
)


@dataclass(frozen=True, slots=True)
class Row:
    """`url` narrows the page to it, or leads to the page about it; `calls_url` to its calls. Both are empty where there
    is no such thing; `tokens` and `error_rate` where they are not known."""

    name: str
    url: str
    calls_url: str
    beside: str
    requests: str
    tokens: str
    error_rate: str
    cost: str
    share: Share


@dataclass(frozen=True, slots=True)
class Table:
    """`what` heads the first column. `note` says why there are no rows, or what is not among them."""

    title: str
    what: str
    rows: Sequence[Row]
    note: str = ""


def by_capability(query: UsageQuery, whole: Figures, request: HttpRequest) -> Table:
    found = breakdown.capabilities(organization=query.organization, filters=query.filters, window=query.window)
    rows = _parts(found, GroupBy.CAPABILITY, query, whole, request)
    return Table("API usage by capability", "Capability", rows, "" if rows else "Nothing was used.")


def breakdowns(query: UsageQuery, whole: Figures, request: HttpRequest) -> list[Table]:
    found = breakdown.models(organization=query.organization, filters=query.filters, window=query.window)
    models = _parts(found, GroupBy.MODEL, query, whole, request)
    by_label = labels(organization=query.organization, filters=query.filters, window=query.window, most=_MAX_ROWS)
    of_users, of_tags = _NOT_BY_FILTER
    users = [_user(one, query, whole, request) for one in by_label.users] if by_label.users is not None else None
    tags = [_tag(one, query, whole, request) for one in by_label.tags] if by_label.tags is not None else None
    return [
        Table("Top models", "Model", models, "" if models else "No model was used."),
        _credentials(query, whole, request),
        _labels("Top users", "User", users, of_users),
        _labels("Top tags", _TAG, tags, of_tags),
    ]


def _parts(found: Sequence[Part], by: GroupBy, query: UsageQuery, whole: Figures, request: HttpRequest) -> list[Row]:
    rows = [
        _row(one.key or WITHOUT[by], one.figures, whole, *_urls(part_of(by, one.key), query, request))
        for one in found[:_MAX_ROWS]
    ]
    if others := found[_MAX_ROWS:]:
        rows.append(_row(f"{len(others)} others", sum((one.figures for one in others), NOTHING), whole))
    return rows


def _urls(part: dict[str, str], query: UsageQuery, request: HttpRequest) -> tuple[str, str]:
    """The page narrowed to a part or, if it is so already, the part's calls; and these calls."""
    if not part:
        return "", ""
    calls = calls_of(query, request, **part)
    (name,) = part
    return calls if getattr(query.filters, name) else url_with(request, **part), calls


def _credentials(query: UsageQuery, whole: Figures, request: HttpRequest) -> Table:
    found = breakdown.credentials(organization=query.organization, filters=query.filters, window=query.window)
    used = [one for one in found if one.figures != NOTHING]
    rows = [_credential(one, query, whole, request) for one in used[:_MAX_ROWS]]
    if others := used[_MAX_ROWS:]:
        rows.append(_row(f"{len(others)} others", sum((one.figures for one in others), NOTHING), whole))
    unused = len(found) - len(used)
    note = f"{unused:,} more {'was' if unused == 1 else 'were'} not used." if unused else ""
    return Table("API credentials", "Credential", rows, note if rows else "No credential was used.")


def _credential(one: CredentialUsage, query: UsageQuery, whole: Figures, request: HttpRequest) -> Row:
    name = one.name or one.client_id or WITHOUT[GroupBy.CREDENTIAL]
    urls = _urls(part_of(GroupBy.CREDENTIAL, one.client_id), query, request)
    return _row(name, one.figures, whole, *urls, beside=one.client_id)


def _labels(title: str, what: str, rows: Sequence[Row] | None, not_known: str) -> Table:
    if rows is None:
        return Table(title, what, (), not_known)
    if not rows:
        return Table(title, what, (), f"No event named a {what.lower()}.")
    notes = [f"The {_MAX_ROWS} dearest."] if len(rows) == _MAX_ROWS else []
    if what == _TAG and len(rows) > 1:
        notes.append("A call with several tags counts in full under each.")
    return Table(title, what, rows, " ".join(notes))


def _user(one: Labelled, query: UsageQuery, whole: Figures, request: HttpRequest) -> Row:
    url = calls_of(query, request, user=one.name) if one.name else ""
    return _label(one, whole, url=url, calls_url=url)


def _tag(one: Labelled, query: UsageQuery, whole: Figures, request: HttpRequest) -> Row:
    """Its own page counts days in UTC."""
    if not one.name:
        return _label(one, whole)
    url = url_of_page("tags", request, tag=one.name)
    return _label(one, whole, url=url, calls_url=calls_of(query, request, tag=one.name))


def _label(one: Labelled, whole: Figures, *, url: str = "", calls_url: str = "") -> Row:
    return Row(
        name=one.name or "Without a user",
        url=url,
        calls_url=calls_url if one.requests else "",
        beside="",
        requests=formatting.count(one.requests),
        tokens="",
        error_rate="",
        cost=usd(one.cost_usd),
        share=share_of(one.cost_usd, whole.cost_usd),
    )


def _row(name: str, figures: Figures, whole: Figures, url: str = "", calls_url: str = "", *, beside: str = "") -> Row:
    return Row(
        name=name,
        url=url,
        calls_url=calls_url if figures.requests else "",
        beside=beside,
        requests=formatting.count(figures.requests),
        tokens=formatting.count(figures.total_tokens),
        error_rate=percent(figures.error_rate),
        cost=usd(figures.cost_usd),
        share=share_of(figures.cost_usd, max(whole.cost_usd, Decimal(0))),
    )
