"""The usage page's tables: by capability, model, credential, user and tag, the dearest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.http import HttpRequest

from billing.admin import formats
from billing.admin.pages.addresses import address
from billing.admin.pages.shares import Share, share_of
from billing.admin.pages.usage_chart import WITHOUT
from billing.admin.pages.usage_figures import percent
from billing.reports.usage import breakdown
from billing.reports.usage.asked import Asked
from billing.reports.usage.figures import NO_CREDENTIAL, NOTHING, CredentialUsage, Figures, GroupBy
from billing.reports.usage.figures import Share as Part
from billing.reports.usage.labels import Labelled, labels
from costtrack.money import usd

_MOST_ROWS = 10
_TAG = "Tag"
_NOT_BY_FILTER = (
    "Users are known by credential and model, and no further. Take the other filters away to see them.",
    "Tags are known of all usage together. Take the filters away to see them.",
)


@dataclass(frozen=True, slots=True)
class Row:
    """`url` narrows the page to it; empty where there is nothing to narrow. `tokens` and `error_rate` are empty where
    they are not known."""

    name: str
    url: str
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


def by_capability(asked: Asked, whole: Figures, request: HttpRequest) -> Table:
    found = breakdown.capabilities(organization=asked.organization, wanted=asked.wanted, window=asked.window)
    url = "" if asked.wanted.capability else "capability"
    rows = _parts(found, GroupBy.CAPABILITY, url, whole, request)
    return Table("API usage by capability", "Capability", rows, "" if rows else "Nothing was used.")


def breakdowns(asked: Asked, whole: Figures, request: HttpRequest) -> list[Table]:
    found = breakdown.models(organization=asked.organization, wanted=asked.wanted, window=asked.window)
    models = _parts(found, GroupBy.MODEL, "" if asked.wanted.model else "model", whole, request)
    by_label = labels(organization=asked.organization, wanted=asked.wanted, window=asked.window, most=_MOST_ROWS)
    of_users, of_tags = _NOT_BY_FILTER
    return [
        Table("Top models", "Model", models, "" if models else "No model was used."),
        _credentials(asked, whole, request),
        _labels("Top users", "User", by_label.users, whole, of_users),
        _labels("Top tags", _TAG, by_label.tags, whole, of_tags),
    ]


def _parts(found: Sequence[Part], by: GroupBy, parameter: str, whole: Figures, request: HttpRequest) -> list[Row]:
    rows = [
        _row(
            one.key or WITHOUT[by],
            one.figures,
            whole,
            url=address(request, **{parameter: one.key}) if parameter and one.key else "",
        )
        for one in found[:_MOST_ROWS]
    ]
    if others := found[_MOST_ROWS:]:
        rows.append(_row(f"{len(others)} others", sum((one.figures for one in others), NOTHING), whole))
    return rows


def _credentials(asked: Asked, whole: Figures, request: HttpRequest) -> Table:
    found = breakdown.credentials(organization=asked.organization, wanted=asked.wanted, window=asked.window)
    used = [one for one in found if one.figures != NOTHING]
    rows = [_credential(one, asked, whole, request) for one in used[:_MOST_ROWS]]
    if others := used[_MOST_ROWS:]:
        rows.append(_row(f"{len(others)} others", sum((one.figures for one in others), NOTHING), whole))
    unused = len(found) - len(used)
    note = f"{unused:,} more {'was' if unused == 1 else 'were'} not used." if unused else ""
    return Table("API credentials", "Credential", rows, note if rows else "No credential was used.")


def _credential(one: CredentialUsage, asked: Asked, whole: Figures, request: HttpRequest) -> Row:
    name = one.name or one.client_id or WITHOUT[GroupBy.CREDENTIAL]
    url = "" if asked.wanted.client_id else address(request, client_id=one.client_id or NO_CREDENTIAL)
    return _row(name, one.figures, whole, url=url, beside=one.client_id)


def _labels(title: str, what: str, found: Sequence[Labelled] | None, whole: Figures, not_known: str) -> Table:
    if found is None:
        return Table(title, what, (), not_known)
    rows = [
        Row(
            name=one.name or "Without a user",
            url="",
            beside="",
            requests=formats.count(one.requests),
            tokens="",
            error_rate="",
            cost=usd(one.cost_usd),
            share=share_of(one.cost_usd, whole.cost_usd),
        )
        for one in found
    ]
    if not rows:
        return Table(title, what, (), f"No event named a {what.lower()}.")
    notes = [f"The {_MOST_ROWS} dearest."] if len(rows) == _MOST_ROWS else []
    if what == _TAG and len(rows) > 1:
        notes.append("A call with several tags counts in full under each.")
    return Table(title, what, rows, " ".join(notes))


def _row(name: str, figures: Figures, whole: Figures, *, url: str = "", beside: str = "") -> Row:
    return Row(
        name=name,
        url=url,
        beside=beside,
        requests=formats.count(figures.requests),
        tokens=formats.count(figures.total_tokens),
        error_rate=percent(figures.error_rate),
        cost=usd(figures.cost_usd),
        share=share_of(figures.cost_usd, max(whole.cost_usd, Decimal(0))),
    )
