"""What the cost of a short span went to: its dearest models, users and tags, as the usage page knows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.http import HttpRequest

from billing.admin.components import formatting
from billing.admin.components.percent_bar import Share, share_of
from billing.admin.components.urls import url_with
from billing.reports.usage import breakdown
from billing.reports.usage.figures import NOTHING
from billing.reports.usage.labels import Labelled, labels
from billing.reports.usage.query import UsageQuery
from costtrack.money import ZERO, usd

MAX_LENGTH = timedelta(hours=25)
"""A day, also one on which clocks are set back."""
_MAX_ITEMS = 3


@dataclass(frozen=True, slots=True)
class Part:
    """`url` narrows the list of calls to it; empty: nothing does."""

    name: str
    url: str
    cost: str
    share: Share


@dataclass(frozen=True, slots=True)
class Parts:
    """`note` stands where there are none."""

    title: str
    parts: Sequence[Part]
    note: str = ""


@dataclass(frozen=True, slots=True)
class SpentOn:
    cost: str
    calls: str
    parts: tuple[Parts, ...]


def spent_on(query: UsageQuery, request: HttpRequest) -> SpentOn | None:
    """None: nothing was used, or the span is so long that the usage page is the place to look."""
    window = query.window
    if window.end - window.start > MAX_LENGTH:
        return None
    models = breakdown.models(organization=query.organization, filters=query.filters, window=window)
    whole = sum((one.figures for one in models), NOTHING)
    if whole == NOTHING:
        return None
    named = labels(organization=query.organization, filters=query.filters, window=window, most=_MAX_ITEMS)
    return SpentOn(
        cost=usd(whole.cost_usd),
        calls=formatting.count(whole.requests),
        parts=(
            _parts("Models", "model", [(one.key, one.figures.cost_usd) for one in models], whole.cost_usd, request),
            _labelled("Users", "user", named.users, whole.cost_usd, request),
            _labelled("Tags", "tag", named.tags, whole.cost_usd, request),
        ),
    )


def _labelled(
    title: str, parameter: str, found: Sequence[Labelled] | None, whole: Decimal, request: HttpRequest
) -> Parts:
    if found is None:
        return Parts(title, (), f"{title} are not known with these filters.")
    return _parts(title, parameter, [(one.name, one.cost_usd) for one in found], whole, request)


def _parts(
    title: str, parameter: str, found: Sequence[tuple[str, Decimal]], whole: Decimal, request: HttpRequest
) -> Parts:
    """The list cannot be narrowed to what has no name."""
    shown = [
        Part(
            name=name or f"Without a {parameter}",
            url=url_with(request, **{parameter: name}) if name else "",
            cost=usd(cost),
            share=share_of(cost, max(whole, ZERO)),
        )
        for name, cost in found[:_MAX_ITEMS]
        if cost
    ]
    return Parts(title, shown, "" if shown else f"No {parameter} was named.")
