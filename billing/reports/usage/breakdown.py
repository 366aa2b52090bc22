"""Usage by capability, model, credential, user and tag, and as chart series (document 001). Read-only."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from psycopg import sql

from billing.reports.spend.totals import NamedSpend
from billing.reports.usage.explorer import ExplorerQuery, explore
from billing.reports.usage.figures import (
    ZERO_FIGURES,
    CredentialUsage,
    Figures,
    GroupBy,
    Series,
    Share,
    UsageFilter,
)
from billing.reports.usage.totals import FiguresByKey, grouped
from billing.rollups.definitions import USAGE_DAYS
from billing.types import Status
from costtrack.calendar import Span
from costtrack.database.queries import fetch_rows
from costtrack.errors import InvalidError
from costtrack.money import ZERO
from organizations.models import APICredential, Organization

MAX_SERIES = 20
_NO_NAME = ("", "")
_OTHERS = "Others"


class View(StrEnum):
    """The view selector of the chart."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    COST = "cost"


RANK_BY: dict[View, Callable[[Figures], object]] = {
    View.REQUESTS: lambda figures: figures.requests,
    View.TOKENS: lambda figures: figures.total_tokens,
    View.COST: lambda figures: figures.cost_usd,
}
"""The figure that ranks series, by view."""


def shares(*, organization: Organization, filters: UsageFilter, window: Span, by: GroupBy) -> list[Share]:
    """Return usage by model or capability, the most expensive first. "" is usage without one, such as tools."""
    (sums,) = grouped(organization=organization, filters=filters, windows=[window], by=by)
    share = _share_of(sums)
    rows = [Share(key, figures, share(figures)) for key, figures in sums.items()]
    return sorted(rows, key=lambda item: (-item.figures.cost_usd, -item.figures.requests, item.key))


def credentials(*, organization: Organization, filters: UsageFilter, window: Span) -> list[CredentialUsage]:
    """Return usage of every credential, the most expensive first. Usage without a credential has an empty Client ID."""
    (sums,) = grouped(organization=organization, filters=filters, windows=[window], by=GroupBy.CREDENTIAL)
    share = _share_of(sums)
    rows = []
    for credential in APICredential.objects.of(organization).order_by("id"):
        figures = sums.pop(str(credential.pk), ZERO_FIGURES)
        if not filters.client_id or filters.client_id == credential.client_id:
            credential_fields = (credential.client_id, credential.name, credential.environment, credential.last_used_at)
            rows.append(CredentialUsage(*credential_fields, figures, share(figures)))
    if sums:
        without = _sum_figures(sums.values())
        rows.append(CredentialUsage("", "", "", None, without, share(without)))
    return sorted(rows, key=lambda item: (-item.figures.cost_usd, -item.figures.requests, item.name, item.client_id))


def groups_by_period(
    *, organization: Organization, filters: UsageFilter, windows: Sequence[Span], by: GroupBy
) -> list[list[tuple[str, Figures]]]:
    """Return the figures of each window by group, with the public key of each group, in alphabetical order."""
    periods = grouped(organization=organization, filters=filters, windows=windows, by=by)
    names = _names(organization, by, sorted({key for sums in periods for key in sums}))
    return [sorted((names.get(key, _NO_NAME)[0], figures) for key, figures in sums.items()) for sums in periods]


def series(
    *,
    organization: Organization,
    filters: UsageFilter,
    windows: Sequence[Span],
    by: GroupBy,
    rank_by: Callable[[Figures], object],
    limit: int = MAX_SERIES,
) -> list[Series]:
    """Return a series for each model, capability etc., with the figures of every window. The `limit` largest by
    `rank_by` come first, then one series for all others."""
    periods = grouped(organization=organization, filters=filters, windows=windows, by=by)
    totals: FiguresByKey = {}
    for sums in periods:
        for key, figures in sums.items():
            totals[key] = totals.get(key, ZERO_FIGURES) + figures
    keys = sorted(totals, key=lambda key: (rank_by(totals[key]), key), reverse=True)
    names = _names(organization, by, keys[:limit])
    lines = [
        Series(*names.get(key, _NO_NAME), totals[key], tuple(sums.get(key, ZERO_FIGURES) for sums in periods))
        for key in keys[:limit]
    ]
    if others := keys[limit:]:
        others_by_period = tuple(_sum_figures(sums[key] for key in others if key in sums) for sums in periods)
        lines.append(Series(None, _OTHERS, _sum_figures(others_by_period), others_by_period))
    return lines


def _share_of(sums: FiguresByKey) -> Callable[[Figures], float]:
    total = sum((figures.cost_usd for figures in sums.values()), ZERO)
    return lambda figures: round(float(figures.cost_usd / total), 6) if total else 0.0


def _sum_figures(figures: Iterable[Figures]) -> Figures:
    return sum(figures, ZERO_FIGURES)


def _names(organization: Organization, by: GroupBy, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the public key and the display name of each key."""
    if by is GroupBy.CREDENTIAL:
        filters = APICredential.objects.of(organization).filter(pk__in=[int(key) for key in keys])
        return {str(item.pk): (item.client_id, item.name) for item in filters}
    if by is GroupBy.STATUS:
        return {key: (key, Status(key).label) for key in keys}
    return {key: (key, key) for key in keys}


@dataclass(frozen=True, slots=True)
class Labels:
    """The most expensive users ("" is usage without a user) and tags; None if there are too many events to read for
    tags. A call with two tags counts in full under both."""

    users: Sequence[NamedSpend]
    tags: Sequence[NamedSpend] | None


def labels(*, organization: Organization, filters: UsageFilter, window: Span, limit: int) -> Labels:
    def named(by: GroupBy) -> list[NamedSpend]:
        page = explore(ExplorerQuery(organization, filters, window, (by,), limit=limit + 1))
        rows = ((row.keys[0], row.figures) for row in page.rows)
        return [NamedSpend(key, figures.cost_usd, figures.requests) for key, figures in rows]

    users = named(GroupBy.USER)[:limit]
    try:
        tags = [tag for tag in named(GroupBy.TAG) if tag.name][:limit]
    except InvalidError:
        return Labels(users, None)
    return Labels(users, tags)


# Unfolded usage is missing here for a second.
_OPTIONS = sql.SQL("""
SELECT coalesce(array_agg(DISTINCT capability) FILTER (WHERE capability <> ''), '{{}}'),
    coalesce(array_agg(DISTINCT model) FILTER (WHERE model <> ''), '{{}}')
FROM {table} WHERE organization_id = %(organization)s AND day >= %(first)s
""").format(table=sql.Identifier(USAGE_DAYS.table))


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """Capabilities and models in alphabetical order."""

    capabilities: tuple[str, ...]
    models: tuple[str, ...]


def list_filter_options(*, organization: Organization, since: datetime) -> FilterOptions:
    parameters = {"organization": organization.pk, "first": since.astimezone(UTC).date()}
    [(capabilities, models)] = fetch_rows(_OPTIONS, parameters)
    return FilterOptions(tuple(capabilities), tuple(models))
