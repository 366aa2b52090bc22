"""Coverage: how much of what a sender counts in metrics has arrived in its logs and spans (docs/otlp.md).

Tokens are added up by sender, signal and hour. They are a check and no usage.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from django.db import connection

from billing.ingest.otlp.metrics import Point
from billing.ingest.types import ParsedEvent
from billing.ledger.types import Appended, Outcome
from billing.models import Coverage, MetricPoint
from costtrack.tenancy import tenant_scope
from organizations.failures import log_failure
from organizations.models import Organization

MAX_AGE = timedelta(days=7)
"""Older points are refused, because those that were counted are not stored longer."""
_FUTURE_TOLERANCE = timedelta(hours=1)
_HOUR_SECONDS = 3600
# The hours and senders of one request; real ones have a few.
_MAX_ROWS = 500

_Row = tuple[str, str, datetime]
_ADD = """
INSERT INTO billing_coverage (organization_id, source, signal, hour, tokens)
SELECT %s, added.source, added.signal, added.hour, added.tokens
FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::bigint[]) AS added (source, signal, hour, tokens)
ORDER BY added.source, added.signal, added.hour
ON CONFLICT (organization_id, source, signal, hour)
DO UPDATE SET tokens = billing_coverage.tokens + excluded.tokens
"""


def record_metrics(*, organization: Organization, points: Sequence[Point], now: datetime) -> int:
    """Count the points that have not been counted yet. Return how many are too old or in the future."""
    first, last = now - MAX_AGE, now + _FUTURE_TOLERANCE
    current = [point for point in points if point.sender and first <= _time(point) <= last]
    refused = sum(not first <= _time(point) <= last for point in points)
    if current:
        with tenant_scope(organization.pk):
            _add(organization, _new_tokens(organization, current, now))
    return refused


def record_arrivals(*, organization: Organization, events: Sequence[ParsedEvent], appended: Appended) -> None:
    """Count the tokens of events that came in logs or spans, except repeated ones."""
    # Numbered hours and shared signals are found several times faster than instants.
    arrived: Counter[tuple[tuple[str, str], int]] = Counter()
    for position, (parsed, outcome) in enumerate(zip(events, appended.outcomes, strict=True)):
        event = parsed.event
        if parsed.signal is None or event.occurred_at is None:
            continue
        if outcome is Outcome.ACCEPTED or position in appended.same_calls:
            tokens = (event.input_tokens or 0) + (event.cache_read_tokens or 0) + (event.cache_creation_tokens or 0)
            hour = int(event.occurred_at.timestamp()) // _HOUR_SECONDS
            arrived[parsed.signal, hour] += tokens + (event.output_tokens or 0)
    if arrived:
        rows = {
            (*signal, datetime.fromtimestamp(hour * _HOUR_SECONDS, tz=UTC)): tokens
            for (signal, hour), tokens in arrived.items()
        }
        with tenant_scope(organization.pk):
            _add(organization, rows)


def delete_old_coverage(*, now: datetime) -> None:
    for organization in Organization.objects.order_by("pk"):
        with log_failure(organization.pk, "old coverage could not be deleted"):
            MetricPoint.objects.of(organization).filter(received_at__lt=now - MAX_AGE).delete()
            Coverage.objects.of(organization).filter(hour__lt=now - MAX_AGE).delete()


def _new_tokens(organization: Organization, points: Iterable[Point], now: datetime) -> Counter[_Row]:
    """Return the tokens of points that are not counted yet, and store that they are.

    A delta counts once. A cumulative series counts what it has grown by since its last point. A smaller total at a
    later time, or another start, is a reset, and counts whole. Earlier points are part of later ones. The first total
    of a series whose start is unknown may be old, so only its growth counts.
    """
    ordered = sorted(points, key=lambda point: (point.end, point.start, point.series))
    keys = [point.key for point in ordered]
    new = [
        MetricPoint(organization=organization, key=key, ends_at=0, tokens=0, received_at=now)
        for key in sorted(set(keys))
    ]
    MetricPoint.objects.bulk_create(new, ignore_conflicts=True)
    locked = MetricPoint.objects.of(organization).filter(key__in=keys).order_by("key").select_for_update()
    counted = {row.key: row for row in locked}
    added: Counter[_Row] = Counter()
    for point, key in zip(ordered, keys, strict=True):
        row = counted[key]
        if point.end > row.ends_at and not (point.is_delta and row.ends_at):
            added[point.sender, point.signal, _hour(_time(point))] += _growth(point, row)
            row.ends_at, row.tokens = point.end, point.tokens
            row.received_at = now
    MetricPoint.objects.bulk_create(
        [row for row in counted.values() if row.received_at == now],
        update_conflicts=True,
        unique_fields=("organization", "key"),
        update_fields=("ends_at", "tokens", "received_at"),
    )
    return added


def _growth(point: Point, last: MetricPoint) -> int:
    if point.is_delta:
        return point.tokens
    if not last.ends_at:
        return point.tokens if point.start else 0
    return point.tokens - last.tokens if point.tokens >= last.tokens else point.tokens


def _add(organization: Organization, tokens: Mapping[_Row, int]) -> None:
    rows = [(*row, number) for row, number in tokens.items() if number][:_MAX_ROWS]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_ADD, [organization.pk, *map(list, zip(*rows, strict=True))])


def _time(point: Point) -> datetime:
    return datetime.fromtimestamp(point.end // 10**9, tz=UTC)


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
