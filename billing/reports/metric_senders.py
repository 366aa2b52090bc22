"""What senders whose metrics count as usage have reported, and what of it is not counted (docs/otlp.md).

In an hour in which logs or spans of the sender arrive, and in the next one, metrics are not counted. If only a part of
the calls arrives as logs or spans, the rest is missing in the ledger; this is where it shows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from billing.models import Coverage, MetricSender
from costtrack.database.queries import fetch_rows
from organizations.models import Organization

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
# The signals that have calls (`billing.ingest.otlp.metrics`); all others are metrics.
_CALLS = frozenset({"logs", "traces"})

HourTokens = Mapping[tuple[str, datetime], int]
"""The tokens of one sender by signal and hour."""

# Senders of all organizations, those that were added first come first.
_RECENT = """
SELECT sender.organization_id, sender.name, sender.metric, coverage.signal, coverage.hour, coverage.tokens
FROM (SELECT * FROM billing_metricsender ORDER BY id LIMIT %(senders)s) AS sender
JOIN billing_coverage AS coverage
    ON coverage.organization_id = sender.organization_id AND coverage.source = sender.name
WHERE coverage.hour >= %(since)s
ORDER BY sender.id
LIMIT %(max_rows)s
"""


@dataclass(frozen=True, slots=True)
class MetricTokens:
    """The tokens of a sender: in its metrics in the hour in progress and in the last day, and those of the last day
    that are not counted although they did not arrive in logs or spans either.

    `is_counted`: the metrics of the hour in progress count, because no logs or spans have come first.
    """

    current_hour: int = 0
    last_day: int = 0
    last_day_missing: int = 0
    is_counted: bool = True


def metric_tokens(
    organization: Organization, senders: Iterable[MetricSender], now: datetime
) -> dict[int, MetricTokens]:
    """Return what the senders have reported, by the id of the sender."""
    senders = list(senders)
    rows = Coverage.objects.of(organization).filter(
        source__in=[sender.name for sender in senders], hour__gte=_first_hour(now)
    )
    by_name: dict[str, dict[tuple[str, datetime], int]] = {}
    for name, signal, hour, tokens in rows.values_list("source", "signal", "hour", "tokens"):
        by_name.setdefault(name, {})[signal, hour] = tokens
    return {sender.pk: _tokens(sender.metric, by_name.get(sender.name, {}), now) for sender in senders}


def list_metric_tokens(*, now: datetime, max_senders: int, max_rows: int) -> list[tuple[str, MetricTokens]]:
    """Return the senders of all organizations that have reported something, by name."""
    parameters = {"since": _first_hour(now), "senders": max_senders, "max_rows": max_rows}
    by_sender: dict[tuple[int, str, str], dict[tuple[str, datetime], int]] = {}
    for organization_id, name, metric, signal, hour, tokens in fetch_rows(_RECENT, parameters):
        by_sender.setdefault((organization_id, name, metric), {})[signal, hour] = tokens
    return [(name, _tokens(metric, tokens, now)) for (_, name, metric), tokens in by_sender.items()]


def _first_hour(now: datetime) -> datetime:
    """Return the hour before the last day, whose logs and spans matter for the first one."""
    return _hour_of(now) - _DAY


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _tokens(metric: str, tokens: HourTokens, now: datetime) -> MetricTokens:
    """`metric` are the metrics that count, empty if none has arrived since the sender was added."""
    current = _hour_of(now)
    in_metrics: dict[datetime, int] = {}
    in_calls: dict[datetime, int] = {}
    for (signal, hour), number in tokens.items():
        if signal in _CALLS:
            in_calls[hour] = max(number, in_calls.get(hour, 0))
        elif metric in ("", signal):
            in_metrics[hour] = max(number, in_metrics.get(hour, 0))
    uncounted = {hour for hour in in_metrics if any(in_calls.get(before) for before in (hour, hour - _HOUR))}
    first = current - _DAY + _HOUR
    missing = sum(max(in_metrics[hour] - in_calls.get(hour, 0), 0) for hour in uncounted if hour >= first)
    return MetricTokens(
        current_hour=in_metrics.get(current, 0),
        last_day=sum(number for hour, number in in_metrics.items() if hour >= first),
        last_day_missing=missing,
        is_counted=current not in uncounted,
    )
