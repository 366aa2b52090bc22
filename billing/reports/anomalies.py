"""Stored anomalies: the list, and the marks of a chart."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q

from billing.limits.selectors import display_values
from billing.models import Anomaly, AnomalyWindow
from billing.notifications.anomaly_text import series_name
from billing.reports.cursors import Page, StartPosition, page_of
from billing.reports.forecast.explanation import SERIES_SCOPES
from billing.types import LimitScope
from costtrack.calendar import ALWAYS, Span, Window
from costtrack.money import usd
from organizations.models import APICredential, Organization

ANOMALY_SCOPES = (LimitScope.ORGANIZATION, *SERIES_SCOPES)
MAX_MARKS = 2_000


@dataclass(frozen=True, slots=True)
class AnomalyFilter:
    """Filters of anomalies; empty means any. `key` is a value of `scope`, of credentials the Client ID. `window` is of
    the time of the anomaly."""

    window: Window = ALWAYS
    scope: LimitScope | None = None
    key: str = ""
    is_rise: bool | None = None
    is_open: bool | None = None


def list_anomalies(
    *, organization: Organization, filters: AnomalyFilter, after: StartPosition | None, limit: int
) -> Page[Anomaly, StartPosition]:
    """Return a page of anomalies, the latest first."""
    anomalies = Anomaly.objects.of(organization).order_by("-began_at", "-id")
    if filters.window.start is not None:
        anomalies = anomalies.filter(ended_at__gt=filters.window.start)
    if filters.window.end is not None:
        anomalies = anomalies.filter(began_at__lt=filters.window.end)
    if filters.is_rise is not None:
        anomalies = anomalies.filter(is_rise=filters.is_rise)
    if filters.is_open is not None:
        is_open = Q(dismissed_at=None, withdrawn_at=None)
        anomalies = anomalies.filter(is_open if filters.is_open else ~is_open)
    if filters.scope is not None:
        windows = AnomalyWindow.objects.of(organization).filter(anomaly=OuterRef("pk"), scope=filters.scope)
        if filters.key:
            windows = windows.filter(value=_value(organization, filters.scope, filters.key))
        anomalies = anomalies.filter(Exists(windows))
    if after is not None:
        pk = int(after.key)
        anomalies = anomalies.filter(Q(began_at__lt=after.at) | Q(began_at=after.at, id__lt=pk))
    return page_of(list(anomalies[: limit + 1]), limit, lambda row: StartPosition(row.began_at, str(row.pk)))


def names_of(organization: Organization, rows: Sequence[Anomaly | AnomalyWindow]) -> Mapping[tuple[str, str], str]:
    """Return how the values of anomalies and of their causes are shown, by scope and value."""
    pairs = [(row.scope, row.value) for row in rows]
    pairs += [(cause["scope"], cause["value"]) for row in rows for cause in row.explained_by]
    return display_values(organization, pairs)


def anomaly_texts(
    *, organization: Organization, periods: Sequence[Span], series: tuple[LimitScope, str] | None
) -> list[str]:
    """Return a text for each period of a chart with unusual spend of one series, or of any; else empty texts.

    Of each anomaly the largest difference is named, unless its hour or day is longer than the period.
    """
    windows = AnomalyWindow.objects.of(organization).filter(
        starts_at__gte=periods[0].start, starts_at__lt=periods[-1].end, anomaly__dismissed_at=None
    )
    if series is not None:
        scope, key = series
        windows = windows.filter(scope=scope, value=_value(organization, scope, key))
    starts = [period.start for period in periods]
    largest: list[dict[int, AnomalyWindow]] = [{} for _ in periods]
    for window in windows.order_by("-starts_at", "id")[:MAX_MARKS]:
        index = bisect_right(starts, window.starts_at) - 1
        period, known = periods[index], largest[index].get(window.anomaly_id)
        is_larger = known is None or abs(window.difference_usd) > abs(known.difference_usd)
        if is_larger and window.ends_at - window.starts_at <= period.end - period.start:
            largest[index][window.anomaly_id] = window
    shown = [window for of_period in largest for window in of_period.values()]
    names = names_of(organization, shown) if shown else {}
    return [_text(list(of_period.values()), names, organization) for of_period in largest]


def _text(windows: Sequence[AnomalyWindow], names: Mapping[tuple[str, str], str], organization: Organization) -> str:
    if not windows:
        return ""
    largest = max(windows, key=lambda window: abs(window.difference_usd))
    name = series_name(largest.scope, names[largest.scope, largest.value], organization.name)
    text = f"{name}: {usd(largest.actual_usd)}, expected about {usd(largest.expected_usd)}"
    return f"{text}, and {len(windows) - 1} more" if len(windows) > 1 else text


def _value(organization: Organization, scope: LimitScope, key: str) -> str:
    """Return the stored value of a key: the id of a credential, which is empty if there is none."""
    if scope is not LimitScope.CREDENTIAL:
        return key
    pk = APICredential.objects.of(organization).filter(client_id=key).values_list("pk", flat=True).first()
    return "" if pk is None else str(pk)
