"""OpenTelemetry's metrics: a check of logs and spans, and the usage of senders that export nothing else (docs/otlp.md).

Usage is stored as aggregates: the tokens that the series of one model, user and session have grown by are an event
with an unknown number of requests.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from billing.ingest.coverage import (
    FUTURE_TOLERANCE,
    HOUR,
    MAX_AGE,
    Row,
    add_tokens,
    hour_of,
    hours_with_calls,
    lock_sender,
    new_points,
    time_of,
)
from billing.ingest.otlp.metrics import FAMILIES, SOURCE, Family, Point
from billing.ingest.services import ingest
from billing.ingest.types import ParsedBatch, ParsedEvent, UsageEventInput
from billing.ingest.usage.usage_reader import read_usage
from billing.ingest.validate import InvalidEventError, normalize, take_reading
from billing.models import MetricSender
from costtrack.tenancy import tenant_scope
from organizations.models import APICredential, Organization

_DIMENSIONS = ("session_id", "user_id", "agent_id", "agent_name", "workflow_id")
# Claude Code's mark for a long context, which its logs do not have.
_LONG_CONTEXT = "[1m]"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Group = tuple[int, tuple[tuple[str, str], ...]]
"""The time of points in nanoseconds, and the texts that say whose usage they are."""


def record_metrics(
    *, organization: Organization, credential: APICredential | None, points: Sequence[Point], now: datetime
) -> int:
    """Count the points that have not been counted yet. Return how many are refused: they are too old, or in the
    future, or cannot be stored as usage."""
    first, last = now - MAX_AGE, now + FUTURE_TOLERANCE
    current = [point for point in points if point.sender and first <= time_of(point) <= last]
    refused = sum(not first <= time_of(point) <= last for point in points)
    if not current:
        return refused
    with tenant_scope(organization.pk):
        named = MetricSender.objects.of(organization).filter(name__in={point.sender for point in current})
        senders = {sender.name: sender for sender in named}
        counted = [point for point in current if point.is_counted or point.sender in senders]
        grown = new_points(organization, counted, now)
        tokens: Counter[Row] = Counter()
        for point in grown:
            if point.is_counted:
                tokens[point.sender, point.signal, hour_of(time_of(point))] += point.tokens
        add_tokens(organization, tokens)
        return refused + _record_usage(organization, credential, senders, grown, now)


def _record_usage(
    organization: Organization,
    credential: APICredential | None,
    senders: Mapping[str, MetricSender],
    points: Sequence[Point],
    now: datetime,
) -> int:
    """Store the tokens of the points as aggregates, unless logs or spans have the calls. Return the number of those
    that cannot be stored."""
    events: list[ParsedEvent] = []
    refused = 0
    for name, sender in sorted(senders.items()):
        own = [point for point in points if point.sender == name]
        if not own:
            continue
        lock_sender(organization, name)
        family = _family(organization, sender, own)
        hours = {hour_of(time_of(point)) for point in own}
        with_calls = hours_with_calls(organization, name, hours | {hour - HOUR for hour in hours})
        for group, parts in _groups(own, family).items():
            hour = hour_of(time_of(parts[0]))
            if with_calls.isdisjoint((hour, hour - HOUR)):
                event = _event(len(events), name, family, group, parts)
                try:
                    normalize(event.event, now, reading=event.reading)
                except InvalidEventError:
                    refused += 1
                else:
                    events.append(event)
    if events:
        parsed = ParsedBatch(events, [])
        result = ingest(organization=organization, credential=credential, format="otlp", parsed=parsed, now=now)
        refused += result.conflicts + result.rejected
    return refused


def _family(organization: Organization, sender: MetricSender, points: Sequence[Point]) -> Family:
    """Return the metrics that count for the sender: always the same ones, because the others repeat them."""
    signals = {point.signal for point in points}
    signal = sender.metric
    if not signal:
        stored = MetricSender.objects.of(organization).filter(name=sender.name)
        first = next(family.signal for family in FAMILIES if family.signal in signals)
        stored.filter(metric="").update(metric=first)
        signal = stored.values_list("metric", flat=True).get()
    return next(family for family in FAMILIES if family.signal == signal)


def _groups(points: Iterable[Point], family: Family) -> dict[_Group, list[Point]]:
    groups: dict[_Group, list[Point]] = {}
    for point in points:
        if point.signal == family.signal:
            groups.setdefault((point.end, tuple(sorted(point.texts.items()))), []).append(point)
    return groups


def _event(index: int, sender: str, family: Family, group: _Group, points: Sequence[Point]) -> ParsedEvent:
    end, texts = group[0], dict(group[1])
    usage: dict[str, Any] = {}
    for point in points:
        name = family.usage[point.kind]
        usage[name] = usage.get(name, 0) + point.tokens
    model = (texts.get("response_model") or texts.get("model") or "").removesuffix(_LONG_CONTEXT)
    service = texts.get("provider") or family.service
    dimensions: dict[str, Any] = {name: texts[name] for name in _DIMENSIONS if name in texts}
    event = UsageEventInput(
        id=f"{family.signal}:{_digest(points)}",
        source=SOURCE,
        kind="model_call",
        occurred_at=_EPOCH + timedelta(microseconds=end // 1000),
        service=service or None,
        model=model or None,
        requests=0,
        metadata={"otel": {"sender": sender, "metric": family.signal}},
        **dimensions,
    )
    reading = read_usage(usage, service=service, model=model, source=SOURCE)
    take_reading(event, reading)
    return ParsedEvent(index, event, reading)


def _digest(points: Iterable[Point]) -> str:
    """Return an id that no other points have: each of them counts once."""
    digest = hashlib.blake2b(digest_size=16)
    for key in sorted(f"{point.key} {point.end}" for point in points):
        digest.update(key.encode())
    return digest.hexdigest()
