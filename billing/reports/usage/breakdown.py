"""Usage by what was called, by whom, and as lines of a chart (document 001). Read-only."""

from collections.abc import Callable, Iterable, Sequence

from billing.reports.usage.figures import NOTHING, CredentialUsage, Figures, GroupBy, Series, Share, UsageFilter
from billing.reports.usage.series import Sums, grouped
from costtrack.calendar import Span
from costtrack.money import ZERO
from organizations.models import APICredential, Organization

MAX_SERIES = 20
_NO_CREDENTIAL = ("", "")
_OTHERS = "Others"

_NAMES_OF_STATUS = {"success": "Success", "failure": "Failure"}


def capabilities(*, organization: Organization, filters: UsageFilter, window: Span) -> list[Share]:
    """By capability, the dearest first."""
    return _shares(organization, filters, window, GroupBy.CAPABILITY)


def models(*, organization: Organization, filters: UsageFilter, window: Span) -> list[Share]:
    """By model, the dearest first; "" is what has none, as tools."""
    return _shares(organization, filters, window, GroupBy.MODEL)


def _shares(organization: Organization, filters: UsageFilter, window: Span, by: GroupBy) -> list[Share]:
    (sums,) = grouped(organization=organization, filters=filters, windows=[window], by=by)
    share = _share_of(sums)
    shares = [Share(key, figures, share(figures)) for key, figures in sums.items()]
    return sorted(shares, key=lambda one: (-one.figures.cost_usd, -one.figures.requests, one.key))


def credentials(*, organization: Organization, filters: UsageFilter, window: Span) -> list[CredentialUsage]:
    """By credential, the dearest first; every credential is there. What was recorded without one comes with an empty
    Client ID."""
    (sums,) = grouped(organization=organization, filters=filters, windows=[window], by=GroupBy.CREDENTIAL)
    share = _share_of(sums)
    found = []
    for credential in APICredential.objects.of(organization).order_by("id"):
        figures = sums.pop(str(credential.pk), NOTHING)
        if not filters.client_id or filters.client_id == credential.client_id:
            told = (credential.client_id, credential.name, credential.environment, credential.last_used_at)
            found.append(CredentialUsage(*told, figures, share(figures)))
    if sums:
        without = _added(sums.values())
        found.append(CredentialUsage("", "", "", None, without, share(without)))
    return sorted(found, key=lambda one: (-one.figures.cost_usd, -one.figures.requests, one.name, one.client_id))


def series(
    *,
    organization: Organization,
    filters: UsageFilter,
    windows: Sequence[Span],
    by: GroupBy,
    largest: Callable[[Figures], object],
    most: int = MAX_SERIES,
) -> list[Series]:
    """A line for each model, capability, ..., with the figures of every window. After the `most` with the largest total
    comes one line for all others."""
    periods = grouped(organization=organization, filters=filters, windows=windows, by=by)
    totals: Sums = {}
    for sums in periods:
        for key, figures in sums.items():
            totals[key] = totals.get(key, NOTHING) + figures
    keys = sorted(totals, key=lambda key: (largest(totals[key]), key), reverse=True)
    names = _names(organization, by, keys[:most])
    lines = [
        Series(*names.get(key, _NO_CREDENTIAL), totals[key], tuple(sums.get(key, NOTHING) for sums in periods))
        for key in keys[:most]
    ]
    if others := keys[most:]:
        of_others = tuple(_added(sums[key] for key in others if key in sums) for sums in periods)
        lines.append(Series(None, _OTHERS, _added(of_others), of_others))
    return lines


def _share_of(sums: Sums) -> Callable[[Figures], float]:
    whole = sum((figures.cost_usd for figures in sums.values()), ZERO)
    return lambda figures: round(float(figures.cost_usd / whole), 6) if whole else 0.0


def _added(figures: Iterable[Figures]) -> Figures:
    return sum(figures, NOTHING)


def _names(organization: Organization, by: GroupBy, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
    """How callers know each key, and what people call it."""
    if by is GroupBy.CREDENTIAL:
        filters = APICredential.objects.of(organization).filter(pk__in=[int(key) for key in keys])
        return {str(one.pk): (one.client_id, one.name) for one in filters}
    if by is GroupBy.STATUS:
        return {key: (key, _NAMES_OF_STATUS.get(key, key)) for key in keys}
    return {key: (key, key) for key in keys}
