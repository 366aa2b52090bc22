"""The cost breakdown of a short period: its most expensive models, users and tags."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.percent_bar import percent_bar
from billing.admin.components.urls import url_with
from billing.reports.spend.totals import NamedSpend
from billing.reports.usage.breakdown import labels, shares
from billing.reports.usage.figures import ZERO_FIGURES, GroupBy
from billing.reports.usage.query import UsageQuery
from costtrack.money import ZERO, usd

MAX_LENGTH = timedelta(hours=25)
"""A day, including one with 25 hours."""
_MAX_ITEMS = 3


@dataclass(frozen=True, slots=True)
class Item:
    """`url` filters the list of calls; empty if that is not possible."""

    name: str
    url: str
    cost: str
    share: SafeString


@dataclass(frozen=True, slots=True)
class Section:
    """`note` is shown when there are no items."""

    title: str
    items: Sequence[Item]
    note: str = ""


@dataclass(frozen=True, slots=True)
class CostBreakdown:
    cost: str
    calls: str
    sections: tuple[Section, ...]


def cost_breakdown(query: UsageQuery, request: HttpRequest) -> CostBreakdown | None:
    """Return the breakdown; None without usage, or for periods longer than `MAX_LENGTH` (see the usage page)."""
    window = query.window
    if window.end - window.start > MAX_LENGTH:
        return None
    models = shares(organization=query.organization, filters=query.filters, window=window, by=GroupBy.MODEL)
    total = sum((row.figures for row in models), ZERO_FIGURES)
    if total == ZERO_FIGURES:
        return None
    named = labels(organization=query.organization, filters=query.filters, window=window, limit=_MAX_ITEMS)
    return CostBreakdown(
        cost=usd(total.cost_usd),
        calls=formatting.count(total.requests),
        sections=(
            _section("Models", "model", [(row.key, row.figures.cost_usd) for row in models], total.cost_usd, request),
            _label_section("Users", "user", named.users, total.cost_usd, request),
            _label_section("Tags", "tag", named.tags, total.cost_usd, request),
        ),
    )


def _label_section(
    title: str, parameter: str, rows: Sequence[NamedSpend] | None, total: Decimal, request: HttpRequest
) -> Section:
    if rows is None:
        return Section(title, (), f"{title} are not available with these filters.")
    return _section(title, parameter, [(row.name, row.spend) for row in rows], total, request)


def _section(
    title: str, parameter: str, rows: Sequence[tuple[str, Decimal]], total: Decimal, request: HttpRequest
) -> Section:
    """Items without a name have no URL, because the list cannot be filtered by them."""
    shown = [
        Item(
            name=name or f"Without a {parameter}",
            url=url_with(request, **{parameter: name}) if name else "",
            cost=usd(cost),
            share=percent_bar(cost, max(total, ZERO)),
        )
        for name, cost in rows[:_MAX_ITEMS]
        if cost
    ]
    return Section(title, shown, "" if shown else f"No {parameter}s.")
