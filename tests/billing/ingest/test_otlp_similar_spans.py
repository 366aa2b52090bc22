"""Spans of one request that differ only in their ids, times and numbers become the same events as each one alone."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from billing.ingest import otlp
from billing.ingest.otlp import protobuf
from billing.ingest.otlp.records import Record
from billing.ingest.types import RecordError
from tests.otlp import nanoseconds, span, traces
from tests.profiles import examples
from tests.usage import NOW

OPENAI = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
CLAUDE = {**OPENAI, "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4-5"}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}

counts = st.one_of(
    st.integers(0, 50), st.sampled_from([-1, 10**13, 2**63 - 1, 0.5, "7", "1e3", "many", True]), st.integers(0, 10**6)
)
numbers = st.fixed_dictionaries(
    {"gen_ai.usage.input_tokens": counts, "gen_ai.usage.output_tokens": counts},
    optional={
        "gen_ai.usage.cache_read.input_tokens": counts,
        "gen_ai.usage.total_tokens": counts,
        "gen_ai.usage.cost": st.sampled_from([0, 0.5, 2, -1, "x"]),
        "http.response.status_code": st.sampled_from([200, 429, "x"]),
        "duration_ms": st.sampled_from([5, 0.25, -1]),
        "gen_ai.response.id": st.sampled_from(["chatcmpl-1234567890", "chatcmpl-0987654321", ""]),
        "gen_ai.request.id": st.sampled_from(["req_1234567890", "chatcmpl-1234567890"]),
        "user.id": st.sampled_from(["ada", " ada ", "e\N{COMBINING ACUTE ACCENT}va"]),
        "costtrack.run_id": st.just("nightly"),
        "costtrack.tags": st.sampled_from(["one,two", '["one", "one"]']),
        "error.type": st.just("timeout"),
        "speed": st.just("fast"),
    },
)
moments = st.sampled_from(
    [nanoseconds(NOW), nanoseconds(NOW) - 5, 0, nanoseconds(NOW + timedelta(hours=2)), 10**9, 2**64 - 1]
)
starts = st.sampled_from([nanoseconds(NOW) - 1_500_001, 0, 2**63])
calls = st.lists(
    st.tuples(st.sampled_from([OPENAI, OPENAI, CLAUDE, TOOL]), numbers, starts, moments), min_size=2, max_size=6
)


def records_of(described: Sequence[tuple[dict[str, Any], dict[str, Any], int, int]]) -> list[Record]:
    spans = [
        span({**call, **values}, at=NOW, trace=1 + number // 2, number=number + 1)
        for number, (call, values, _, _) in enumerate(described)
    ]
    for encoded, (_, _, start, end) in zip(spans, described, strict=True):
        encoded.start_time_unix_nano, encoded.end_time_unix_nano = start, end
    return protobuf.spans(traces(spans, resource={"service.name": "agents"}).SerializeToString(), max_records=1000)


def converted(records: Sequence[Record]) -> dict[str | None, Any]:
    """What the records become, by the id of the event or of the error."""
    batch = otlp.to_events(records, now=NOW)
    return {error.id: _without_index(error) for error in batch.errors} | {
        parsed.event.id: msgspec.structs.replace(parsed, index=0) for parsed in batch.events
    }


def _without_index(error: RecordError) -> RecordError:
    return msgspec.structs.replace(error, index=0)


@given(calls)
@examples(40)
def test_spans_of_one_request_become_the_same_events_as_each_one_alone(described: Any) -> None:
    records = records_of(described)
    alone: dict[str | None, Any] = {}
    for record in records:
        alone |= converted([record])
    assert converted(records) == alone


def test_the_counts_ids_and_times_of_similar_spans_are_their_own() -> None:
    values = [
        {"gen_ai.usage.input_tokens": 10 * n, "gen_ai.usage.output_tokens": n, "gen_ai.response.id": f"chatcmpl-{n}"}
        for n in (1, 2, 3)
    ]
    end = nanoseconds(NOW)
    records = records_of([(OPENAI, numbers, end - n * 10**9, end - n) for n, numbers in enumerate(values)])
    events = [parsed.event for parsed in otlp.to_events(records, now=NOW).events]
    assert [(event.input_tokens, event.output_tokens, event.request_id) for event in events] == [
        (10, 1, "chatcmpl-1"),
        (20, 2, "chatcmpl-2"),
        (30, 3, "chatcmpl-3"),
    ]
    assert len({event.id for event in events}) == len({event.duration_ms for event in events}) == 3
    assert [event.run_id for event in events] == [record.trace_id for record in records]
