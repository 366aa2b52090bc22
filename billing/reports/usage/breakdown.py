"""Usage by capability, model and credential, and as chart series (document 001). Read-only."""

from collections.abc import Callable, Iterable, Sequence

from billing.reports.usage.figures import ZERO_FIGURES, CredentialUsage, Figures, GroupBy, Series, Share, UsageFilter
from billing.reports.usage.series import Sums, grouped
from costtrack.calendar import Span
from costtrack.money import ZERO
from organizations.models import APICredential, Organization

MAX_SERIES = 20
_NO_NAME = ("", "")
_OTHERS = "Others"

_STATUS_NAMES = {"success": "Success", "failure": "Failure"}


def capabilities(*, organization: Organization, filters: UsageFilter, window: Span) -> list[Share]:
    """Return usage by capability, the most expensive first."""
    return _shares(organization, filters, window, GroupBy.CAPABILITY)


def models(*, organization: Organization, filters: UsageFilter, window: Span) -> list[Share]:
    """Return usage by model, the most expensive first. "" is usage without a model, such as tools."""
    return _shares(organization, filters, window, GroupBy.MODEL)


def _shares(organization: Organization, filters: UsageFilter, window: Span, by: GroupBy) -> list[Share]:
    (sums,) = grouped(organization=organization, filters=filters, windows=[window], by=by)
    share = _share_of(sums)
    shares = [Share(key, figures, share(figures)) for key, figures in sums.items()]
    return sorted(shares, key=lambda item: (-item.figures.cost_usd, -item.figures.requests, item.key))


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
    totals: Sums = {}
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


def _share_of(sums: Sums) -> Callable[[Figures], float]:
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
        return {key: (key, _STATUS_NAMES.get(key, key)) for key in keys}
    return {key: (key, key) for key in keys}
