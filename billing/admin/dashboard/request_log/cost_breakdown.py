"""The cost breakdown of a short period: its most expensive models, users and tags."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.percent_bar import percent_bar
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import url_with
from billing.reports.spend.totals import NamedSpend
from billing.reports.usage.breakdown import labels, shares
from billing.reports.usage.figures import ZERO_FIGURES, GroupBy
from billing.reports.usage.query import UsageQuery
from costtrack.errors import InvalidError
from costtrack.money import ZERO, usd

MAX_LENGTH = timedelta(hours=25)
"""A day, including one with 25 hours."""
_MAX_ITEMS = 3


NamedCost = tuple[str, Decimal]
"""The name of a model, user or tag, which is empty for calls without one, and its cost."""


@dataclass(frozen=True, slots=True)
class CostBreakdown:
    cost: str
    calls: str
    tables: tuple[Table[NamedCost], ...]


def cost_breakdown(query: UsageQuery, request: HttpRequest) -> CostBreakdown | None:
    """Return the breakdown; None without usage, for periods longer than `MAX_LENGTH` (see the usage page), or if there
    are too many events to read for a filter."""
    window = query.window
    if window.end - window.start > MAX_LENGTH:
        return None
    try:
        models = shares(organization=query.organization, filters=query.filters, window=window, by=GroupBy.MODEL)
    except InvalidError:
        return None
    total = sum((row.figures for row in models), ZERO_FIGURES)
    if total == ZERO_FIGURES:
        return None
    named = labels(organization=query.organization, filters=query.filters, window=window, limit=_MAX_ITEMS)
    return CostBreakdown(
        cost=usd(total.cost_usd),
        calls=formatting.count(total.requests),
        tables=(
            _table(
                "Models", "model", "model", [(row.key, row.figures.cost_usd) for row in models], total.cost_usd, request
            ),
            _table("Users", "user", "user_id", _costs(named.users), total.cost_usd, request),
            _table("Tags", "tag", "tag", _costs(named.tags), total.cost_usd, request),
        ),
    )


def _costs(labels: Sequence[NamedSpend] | None) -> list[NamedCost] | None:
    return [(label.name, label.spend) for label in labels] if labels is not None else None


def _table(
    title: str,
    noun: str,
    parameter: str,
    rows: Sequence[NamedCost] | None,
    total: Decimal,
    request: HttpRequest,
) -> Table[NamedCost]:
    """Return the most expensive rows, each linked to its calls; `rows` is None if they are unknown. Rows without a name
    have no link, because the list cannot be filtered by them."""

    def name(row: NamedCost) -> SafeString | str:
        url = url_with(request, **{parameter: row[0]}) if row[0] else ""
        return formatting.link_or_text(url, row[0] or f"No {noun}")

    columns = (
        Column[NamedCost](title, name),
        Column[NamedCost]("Cost", lambda row: usd(row[1]), is_number=True),
        Column[NamedCost]("Share", lambda row: percent_bar(row[1], max(total, ZERO))),
    )
    empty = f"No {noun}s." if rows is not None else f"Too many events to show {title.lower()}. Choose a shorter period."
    return Table(title, columns, [row for row in (rows or ())[:_MAX_ITEMS] if row[1]], empty=empty)
