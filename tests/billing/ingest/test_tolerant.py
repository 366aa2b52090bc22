"""Tolerant parsing of almost-JSON bodies: bad records do not affect the others."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.ingest.json_records import repair_json, split_tolerantly
from billing.ingest.types import Malformed, TooMany


def split(body: bytes, content_type: str = "application/json", max_records: int = 100) -> list[bytes]:
    return [bytes(record) for record in split_tolerantly(body, content_type=content_type, max_records=max_records)]


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (b'[{"a":1}, {"b":"]"} ]', [b'{"a":1}', b'{"b":"]"}']),
        (b" [] ", []),
        (b'{"a":1}', [b'{"a":1}']),
        (b'{\n"a": 1\n}', [b'{\n"a": 1\n}']),
        (b'{"a":1}\n\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
        (b'null\n{"b":2}', [b"null", b'{"b":2}']),
        (b"null", [b"null"]),
        (b'[{"x":NaN},{"a":1}]', [b'{"x":NaN}', b'{"a":1}']),
        (b'[{"x":-Infinity}]', [b'{"x":-Infinity}']),
        (b'[{"x":"\\ud83d"},null]', [b'{"x":"\\ud83d"}', b"null"]),
        (b'[{"x":"\\"]},["},[NaN]]', [b'{"x":"\\"]},["}', b"[NaN]"]),
        (b'[{"a":1}, garbage]', [b'{"a":1}', b"garbage"]),
        (b"[[NaN], [] ]", [b"[NaN]", b"[]"]),
    ],
)
def test_records_stay_by_themselves(body: bytes, records: list[bytes]) -> None:
    assert split(body) == records


def test_lines_with_any_content_are_split_by_content_type() -> None:
    assert split(b'{"a":1}\n12\n', "application/x-ndjson") == [b'{"a":1}', b"12"]


def test_one_deeply_nested_record_does_not_spoil_the_others() -> None:
    deep = b"[" * 5000 + b"]" * 5000
    assert split(b'[{"a":1},' + deep + b"]") == [b'{"a":1}', deep]
    assert split(b"[" + deep + b"]") == [deep]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n ",
        b"hello",
        b"12",
        b'"text"',
        b"model=gpt-4o&tokens=5",
        b"{not json}",
        b"[hello]",
        b"[",
        b'[{"x":NaN}',
        b'[{"x":NaN}] {"b":2}',
        b'[{"x":NaN},]',
        b"[NaN,,1]",
        b'["NaN',
        b"\xff\xfe",
        b"\x1f\x8b\x08\x00",
    ],
)
def test_what_is_not_json_at_all_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        split(body)


def test_too_many_records_are_refused() -> None:
    assert len(split(b"[1,2,3]", max_records=3)) == 3
    for body in (b"[1,2,3,4]", b"[1,2,3,NaN]", b"{}\n{}\n{}\n{}"):
        with pytest.raises(TooMany):
            split(body, max_records=3)


@pytest.mark.parametrize(
    ("record", "value"),
    [
        (b'{"x":[NaN,Infinity,-Infinity,1e999,1.5]}', {"x": [None, None, None, None, 1.5]}),
        (b'{"x":"a\\ud83d"}', {"x": "a?"}),
        (b'{"x":"\\ud83d\\ude00"}', {"x": "\N{GRINNING FACE}"}),
        (b'{"x":"\xff"}', {"x": "\N{REPLACEMENT CHARACTER}"}),
        (b'{"cost":2.4999999999999998e-05}', {"cost": 2.4999999999999998e-05}),
    ],
)
def test_a_record_is_repair_json_without_changing_what_is_right(record: bytes, value: Any) -> None:
    assert json.loads(repair_json(record)) == value


@pytest.mark.parametrize("unit", [b'"\\"', b'"', b'\\"', b"[", b'{"', b"[,", b'"a",'])
def test_no_body_takes_long(unit: bytes) -> None:
    started = time.perf_counter()
    with pytest.raises((Malformed, TooMany)):
        split(b"[NaN," + unit * 300_000)
    assert time.perf_counter() - started < 5


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=4), children, max_size=4),
    max_leaves=20,
)


@given(records=st.lists(_json, max_size=6), indent=st.none() | st.just(1))
def test_json_that_python_writes_is_split_into_the_same_records(records: list[Any], indent: int | None) -> None:
    """NaN is not equal to itself, so the texts are compared."""
    body = json.dumps(records, indent=indent).encode()
    assert [json.dumps(json.loads(record)) for record in split(body)] == [json.dumps(record) for record in records]
