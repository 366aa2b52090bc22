"""Attributes of spans in protobuf: each is decoded once for many spans, and only if it is read."""

from itertools import chain

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from billing.ingest import otlp
from billing.ingest.otlp import protobuf
from billing.ingest.otlp.records import Record
from billing.ingest.types import Malformed
from tests.otlp import any_value, span, traces
from tests.usage import NOW

CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 10}


def encoded_field(number: int, content: bytes) -> bytes:
    """A field with a length below 128."""
    return bytes([number << 3 | 2, len(content)]) + content


def decode(*attributes: bytes) -> Record:
    """The only span of a request: a call with encoded attributes."""
    body = span(CALL, at=NOW, trace=1, number=1).SerializeToString()
    body += b"".join(encoded_field(9, attribute) for attribute in attributes)
    scoped = b"\x12" + _length(body) + body
    resource = b"\x12" + _length(scoped) + scoped
    [record] = protobuf.spans(b"\x0a" + _length(resource) + resource, max_records=100)
    return record


def _length(content: bytes) -> bytes:
    return bytes([len(content) & 0x7F | 0x80, len(content) >> 7])


def test_equal_attributes_of_many_spans_have_equal_values_and_different_ones_their_own() -> None:
    spans = [
        span({**CALL, "user.id": f"user-{number % 2}", "gen_ai.usage.output_tokens": number}, at=NOW)
        for number in range(6)
    ]
    for _ in range(2):  # decoded, and decoded before
        records = protobuf.spans(traces(spans).SerializeToString(), max_records=100)
        assert [record.text("user_id") for record in records] == ["user-0", "user-1"] * 3
        assert [record.attributes.values["gen_ai.usage.output_tokens"] for record in records] == list(range(6))


def test_what_is_not_read_is_neither_decoded_nor_remembered() -> None:
    secret = KeyValue(key="gen_ai.prompt", value=any_value("a prompt of this test alone")).SerializeToString()
    broken = encoded_field(1, b"llm.prompts") + encoded_field(2, encoded_field(1, b"\xff\xfe"))
    record = decode(secret, broken)
    assert record.attributes.values == {"gen_ai.usage.input_tokens": 10}
    remembered = {*protobuf._decoded, *chain(*protobuf._layouts, *protobuf._said)}
    assert not {attribute for attribute in remembered if b"a prompt of" in attribute}


def test_an_attribute_whose_value_comes_before_its_key_is_read() -> None:
    value, key = encoded_field(2, any_value("ada").SerializeToString()), encoded_field(1, b"user.id")
    assert decode(value + key).text("user_id") == "ada"


def test_an_empty_attribute_is_skipped_and_a_truncated_one_is_refused() -> None:
    assert decode(b"").attributes.values == {"gen_ai.usage.input_tokens": 10}
    with pytest.raises(Malformed):
        decode(b"\x0a")
    with pytest.raises(Malformed):
        decode(encoded_field(1, b"user.id") + b"\x12\x7f")


def test_the_first_of_two_attributes_with_one_name_counts() -> None:
    other = KeyValue(key="gen_ai.usage.input_tokens", value=any_value(11)).SerializeToString()
    assert decode(other).attributes.values == {"gen_ai.usage.input_tokens": 10}


def test_an_estimate_that_is_no_amount_does_not_refuse_the_call() -> None:
    spans: list[Span] = [span({**CALL, "gen_ai.usage.cost": cost}, at=NOW) for cost in (1e300, -1.0, 0.5)]
    records = protobuf.spans(traces(spans).SerializeToString(), max_records=100)
    batch = otlp.to_events(records, now=NOW)
    assert batch.errors == []
    assert [str(parsed.event.cost_usd) for parsed in batch.events] == ["None", "None", "0.5"]


def test_an_attribute_that_is_cut_off_is_refused_and_hides_no_later_one() -> None:
    name = b"gen_ai.usage.output_tokens"
    with pytest.raises(Malformed):
        decode(bytes([0x0A, len(name)]) + name[:10])
    assert decode(encoded_field(1, name) + encoded_field(2, b"\x18\x05")).attributes.values[name.decode()] == 5
