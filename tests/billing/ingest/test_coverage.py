"""Metrics are compared with the logs and spans of their sender, and each point counts once."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import accumulate, count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.ingest.coverage import delete_old_coverage
from billing.ingest.metric_usage import record_metrics
from billing.ingest.otlp import json_encoding, protobuf
from billing.ingest.otlp.metrics import Point
from billing.models import Coverage, MetricPoint
from organizations.models import Organization
from tests.otlp import as_json, metrics, point
from tests.profiles import examples
from tests.usage import NOW

START = NOW - timedelta(hours=3)
MINUTE = timedelta(minutes=1)


def read(request: Any, encoding: str = "protobuf") -> list[Point]:
    if encoding == "protobuf":
        points, unreadable = protobuf.metrics(request.SerializeToString(), max_records=1000)
    else:
        points, unreadable = json_encoding.metrics(json.dumps(as_json(request)).encode(), max_records=1000)
    assert unreadable == 0
    return points


def record(organization: Organization, *requests: Any, now: datetime = NOW) -> None:
    for request in requests:
        assert record_metrics(organization=organization, credential=None, points=read(request), now=now) == 0


def reported() -> int:
    return sum(Coverage.objects.values_list("tokens", flat=True))


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize(
    ("name", "attribute", "by_type", "expected"),
    [
        ("claude_code.token.usage", "type", {"input": 1, "output": 20, "cacheRead": 300, "cacheCreation": 4000}, 4321),
        (
            "codex.turn.token_usage",
            "token_type",
            {"total": 321, "input": 300, "cached_input": 200, "output": 21, "reasoning_output": 10},
            321,
        ),
        ("gemini_cli.token.usage", "type", {"input": 1, "output": 20, "thought": 300, "tool": 4000, "cache": 1}, 4321),
        ("gen_ai.client.token.usage", "gen_ai.token.type", {"input": 300, "output": 21}, 321),
        ("gen_ai.client.inference.usage.input_tokens", "gen_ai.request.model", {"gpt-4o": 300}, 300),
        ("gen_ai.client.inference.usage.cache_read.input_tokens", "gen_ai.request.model", {"gpt-4o": 300}, 0),
        ("claude_code.cost.usage", "type", {"input": 300}, 0),
    ],
)
def test_the_tokens_of_each_sender_are_added_up_once(
    name: str, attribute: str, by_type: Mapping[str, int], expected: int, encoding: str
) -> None:
    points = [point(tokens, at=NOW, attributes={attribute: kind}) for kind, tokens in by_type.items()]
    assert sum(item.tokens for item in read(metrics(points, name=name), encoding) if item.is_counted) == expected


def test_a_retried_export_counts_once(organization: Organization) -> None:
    first = metrics([point(10, at=START + MINUTE, since=START)])
    second = metrics([point(10, at=START + 2 * MINUTE, since=START + MINUTE)])
    record(organization, first, second, first, second)
    assert reported() == 20


def test_series_of_other_resources_and_attributes_are_different(organization: Organization) -> None:
    for instance in ("a", "b"):
        for user in ("u1", "u2"):
            attributes = {"type": "input", "user.id": user}
            resource = {"service.name": "claude-code", "service.instance.id": instance}
            record(organization, metrics([point(5, at=NOW, since=START, attributes=attributes)], resource=resource))
    assert reported() == 20
    assert set(Coverage.objects.values_list("source", "signal")) == {("claude-code", "claude_code.token.usage")}


def test_a_series_without_a_known_start_counts_from_its_first_point(organization: Organization) -> None:
    totals = [(1, 100), (2, 130), (3, 20)]
    record(organization, *(metrics([point(total, at=START + at * MINUTE)], is_delta=False) for at, total in totals))
    assert reported() == 30 + 20


def test_points_are_in_the_hour_of_their_time(organization: Organization) -> None:
    hour = NOW.replace(minute=0)
    totals = [(hour - MINUTE, 10), (hour, 15)]
    record(organization, *(metrics([point(total, at=at, since=START)], is_delta=False) for at, total in totals))
    assert dict(Coverage.objects.values_list("hour", "tokens")) == {hour - timedelta(hours=1): 10, hour: 5}


def test_points_out_of_time_are_refused_and_old_ones_deleted(organization: Organization) -> None:
    old, future = NOW - timedelta(days=8), NOW + timedelta(hours=2)
    points = read(metrics([point(1, at=old, since=old - MINUTE), point(1, at=future, since=NOW), point(1, at=NOW)]))
    assert record_metrics(organization=organization, credential=None, points=points, now=NOW) == 2
    assert reported() == 1
    delete_old_coverage(now=NOW + timedelta(days=6))
    assert (MetricPoint.objects.count(), Coverage.objects.count()) == (1, 1)
    delete_old_coverage(now=NOW + timedelta(days=8))
    assert (MetricPoint.objects.count(), Coverage.objects.count()) == (0, 0)


_instances = count()
_RUNS = st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5), min_size=1, max_size=4)


@examples(15)
@given(runs=_RUNS, is_delta=st.booleans(), order=st.randoms(use_true_random=False))
def test_retries_resets_and_any_order_give_the_sum_of_all_tokens(
    organization: Organization, runs: list[list[int]], *, is_delta: bool, order: Any
) -> None:
    """Each run of a process starts its series again. Exports are repeated, and arrive in any order."""
    before = reported()
    exports = [
        export for number, run in enumerate(runs) for export in _exports(run, START + number * 10 * MINUTE, is_delta)
    ]
    sent = exports + order.choices(exports, k=3)
    order.shuffle(sent)
    resource = {"service.name": "claude-code", "service.instance.id": str(next(_instances))}
    record(organization, *(metrics([item], is_delta=is_delta, resource=resource) for item in sent))
    assert reported() - before == sum(map(sum, runs))


def _exports(run: list[int], start: datetime, is_delta: bool) -> Iterable[Any]:  # noqa: FBT001 - a test's own
    values = run if is_delta else list(accumulate(run))
    for number, value in enumerate(values):
        since = start + number * MINUTE if is_delta else start
        yield point(value, at=start + (number + 1) * MINUTE, since=since)
