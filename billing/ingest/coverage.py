"""Coverage: how much of what a sender counts in metrics has arrived in its logs and spans (docs/otlp.md).

Tokens are added up by sender, signal and hour. They are a check; those of senders that export nothing else can be
counted as usage (`billing/ingest/metric_usage.py`). Logs and spans come first: in an hour in which they arrive, and the
one after it, metrics are not counted as usage, and what was counted before they arrived is taken back.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import msgspec
from django.db import connection

from billing.ingest.otlp.metrics import LOGS, SOURCE, TRACES, Point
from billing.ingest.types import ParsedEvent
from billing.ledger.corrections import take_back
from billing.ledger.types import Appended, Outcome
from billing.models import Coverage, MetricPoint, UsageEvent
from billing.types import EventKind
from costtrack.database.queries import fetch_rows
from costtrack.tenancy import tenant_reads, tenant_scope
from organizations.failures import log_failure
from organizations.models import Organization

MAX_AGE = timedelta(days=7)
"""Older points are refused, because those that were counted are not stored longer."""
FUTURE_TOLERANCE = timedelta(hours=1)
HOUR = timedelta(hours=1)
_HOUR_SECONDS = 3600
# The hours and senders of one request; real ones have a few.
_MAX_ROWS = 500

_TAKEN_BACK = "Logs or spans of this hour have arrived."

Row = tuple[str, str, datetime]
"""A sender, a signal and an hour."""
_ADD = """
INSERT INTO billing_coverage (organization_id, source, signal, hour, tokens)
SELECT %s, added.source, added.signal, added.hour, added.tokens
FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::bigint[]) AS added (source, signal, hour, tokens)
ORDER BY added.source, added.signal, added.hour
ON CONFLICT (organization_id, source, signal, hour)
DO UPDATE SET tokens = billing_coverage.tokens + excluded.tokens
RETURNING source, hour, EXISTS (
    SELECT FROM billing_metricsender AS sender
    WHERE sender.organization_id = billing_coverage.organization_id AND sender.name = billing_coverage.source
)
"""


# The same for senders whose metrics do not count as usage: there is nothing to take back, so it is one statement.
_ADD_OF_OTHERS = """
INSERT INTO billing_coverage (organization_id, source, signal, hour, tokens)
SELECT %s, added.source, added.signal, added.hour, added.tokens
FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::bigint[]) AS added (source, signal, hour, tokens)
WHERE added.source <> ALL (
    ARRAY(SELECT sender.name FROM billing_metricsender AS sender WHERE sender.organization_id = %s)
)
ORDER BY added.source, added.signal, added.hour
ON CONFLICT (organization_id, source, signal, hour)
DO UPDATE SET tokens = billing_coverage.tokens + excluded.tokens
RETURNING source
"""


def record_arrivals(
    *, organization: Organization, events: Sequence[ParsedEvent], appended: Appended, now: datetime
) -> None:
    """Count the tokens of events that came in logs or spans, except repeated ones. They replace usage that was counted
    from metrics."""
    # Numbered hours and shared signals are found several times faster than instants.
    arrived: dict[tuple[tuple[str, str], int], int] = {}
    for position, (parsed, outcome) in enumerate(zip(events, appended.outcomes, strict=True)):
        event, signal = parsed.event, parsed.signal
        if signal is None or event.occurred_at is None:
            continue
        if outcome is Outcome.ACCEPTED or position in appended.same_calls:
            tokens = (event.input_tokens or 0) + (event.cache_read_tokens or 0) + (event.cache_creation_tokens or 0)
            row = signal, int(event.occurred_at.timestamp()) // _HOUR_SECONDS
            arrived[row] = arrived.get(row, 0) + tokens + (event.output_tokens or 0)
    rows = {
        (*signal, datetime.fromtimestamp(hour * _HOUR_SECONDS, tz=UTC)): tokens
        for (signal, hour), tokens in arrived.items()
        if tokens
    }
    if not rows:
        return
    with tenant_reads(organization.pk):
        added = {
            source for (source,) in fetch_rows(_ADD_OF_OTHERS, [*_parameters(organization, rows), organization.pk])
        }
    rows = {row: tokens for row, tokens in rows.items() if row[0] not in added}
    if rows:
        with tenant_scope(organization.pk):
            for sender, hours in add_tokens(organization, rows).items():
                _take_back_usage(organization, sender, hours, now)


def lock_sender(organization: Organization, sender: str) -> None:
    """Wait for other requests that count the sender's metrics as usage or take it back, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [f"metrics {sender}", organization.pk])


def hours_with_calls(organization: Organization, sender: str, hours: Iterable[datetime]) -> frozenset[datetime]:
    """Return which of the hours have calls of the sender in logs or spans."""
    rows = Coverage.objects.of(organization).filter(
        source=sender, signal__in=(LOGS, TRACES), hour__in=list(hours), tokens__gt=0
    )
    return frozenset(rows.values_list("hour", flat=True))


def _take_back_usage(organization: Organization, sender: str, hours: Iterable[datetime], now: datetime) -> None:
    lock_sender(organization, sender)
    for hour in sorted(hours):
        events = UsageEvent.objects.of(organization).filter(
            kind=EventKind.MODEL_CALL.value,
            source=SOURCE,
            occurred_at__gte=hour,
            occurred_at__lt=hour + 2 * HOUR,
            metadata__otel__sender=sender,
        )
        take_back(organization=organization, events=events, reason=_TAKEN_BACK, now=now)


def delete_old_coverage(*, now: datetime) -> None:
    for organization in Organization.objects.order_by("pk"):
        with log_failure(organization.pk, "old coverage could not be deleted"):
            MetricPoint.objects.of(organization).filter(received_at__lt=now - MAX_AGE).delete()
            Coverage.objects.of(organization).filter(hour__lt=now - MAX_AGE).delete()


def new_points(organization: Organization, points: Iterable[Point], now: datetime) -> list[Point]:
    """Return the points that are not counted yet, with the tokens that are new, and store that they are counted.

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
    grown = []
    for point, key in zip(ordered, keys, strict=True):
        row = counted[key]
        if point.end > row.ends_at and not (point.is_delta and row.ends_at):
            grown.append(msgspec.structs.replace(point, tokens=_growth(point, row)))
            row.ends_at, row.tokens = point.end, point.tokens
            row.received_at = now
    MetricPoint.objects.bulk_create(
        [row for row in counted.values() if row.received_at == now],
        update_conflicts=True,
        unique_fields=("organization", "key"),
        update_fields=("ends_at", "tokens", "received_at"),
    )
    return [point for point in grown if point.tokens]


def _growth(point: Point, last: MetricPoint) -> int:
    if point.is_delta:
        return point.tokens
    if not last.ends_at:
        return point.tokens if point.start else 0
    return point.tokens - last.tokens if point.tokens >= last.tokens else point.tokens


def add_tokens(organization: Organization, tokens: Mapping[Row, int]) -> dict[str, set[datetime]]:
    """Add the tokens. Return the hours of senders whose metrics count as usage."""
    rows = {row: number for row, number in tokens.items() if number}
    hours: dict[str, set[datetime]] = {}
    if rows:
        for sender, hour, counts_as_usage in fetch_rows(_ADD, _parameters(organization, rows)):
            if counts_as_usage:
                hours.setdefault(sender, set()).add(hour)
    return hours


def _parameters(organization: Organization, tokens: Mapping[Row, int]) -> list[Any]:
    rows = [(*row, number) for row, number in islice(tokens.items(), _MAX_ROWS)]
    return [organization.pk, *map(list, zip(*rows, strict=True))]


def time_of(point: Point) -> datetime:
    return datetime.fromtimestamp(point.end // 10**9, tz=UTC)


def hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
