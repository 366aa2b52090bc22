"""CSV and Parquet: columns by their names, cells of every kind, and errors with their rows."""

import io
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from billing.ingest.types import UsageEventInput
from costtrack.event_files import FileError, FileFormat
from costtrack.event_files.columns import FIELDS
from tests.costtrack.event_files.reading import read


def test_every_field_of_an_event_can_be_a_column() -> None:
    assert set(FIELDS) == set(UsageEventInput.__struct_fields__)


@pytest.mark.parametrize(
    "text",
    [
        "occurred_at,model,input_tokens,cost_usd\n2026-11-02T09:00:00Z,m,5,0.10\n",
        "Timestamp;Model Name;Input Tokens;Cost\r\n2026-11-02 09:00:00+00;m;5;0.10\r\n\r\n",
        "startTime\tmodel\tinputTokens\tspend\n1793610000000\tm\t5.0\t$0.10\n",
        "created-at|model|input_tokens|cost_usd|note\n1793610000|m|5|0.10|secret\n",
    ],
)
def test_columns_are_found_by_their_names(text: str) -> None:
    expected = {"occurred_at": "2026-11-02T09:00:00Z", "model": "m", "input_tokens": 5, "cost_usd": "0.10"}
    for content in (text.encode(), text.encode("utf-8-sig"), text.encode("utf-16")):
        assert read(content) == (FileFormat.CSV, [expected], [])


def test_counts_under_a_providers_names_are_one_usage_object() -> None:
    _, events, _ = read("time,model,input_tokens,cache_read_input_tokens,output_tokens\n1,claude,10,90,7\n2,m,3,,1\n")
    assert events[0]["usage"] == {"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 7}
    assert (events[1]["input_tokens"], events[1].get("usage")) == (3, None)


def test_tags_metadata_and_objects_are_read_from_cells() -> None:
    text = 'time,model,tags,usage,Cost center\n1,m,"a; b,c","{""prompt_tokens"": 1}",R&D\n2,m,"[""x"", ""y,z""]",,\n'
    _, events, _ = read(text, {"Cost center": "metadata.cost_center"})
    assert events[0]["tags"] == ["a", "b", "c"]
    assert events[0]["usage"] == {"prompt_tokens": 1}
    assert events[0]["metadata"] == {"cost_center": "R&D"}
    assert events[1]["tags"] == ["x", "y,z"]


def test_what_is_wrong_with_a_row_names_its_line_and_its_column() -> None:
    text = (
        "time,model,input tokens,cost\n"
        '1,"two\nlines",1,1\n'
        "yesterday,m,1,1\n"
        "1,m,1.5,1\n"
        '1,m,1,"1,234"\n'
        "1,m,1,1,more\n"
        "\n"
        "1,m,,\n"
    )
    _, events, faults = read(text)
    assert [event["model"] for event in events] == ["two\nlines", "m"]
    assert faults == [
        "line 4: 'yesterday' is not a time: use 2026-11-02T09:00:00Z.",
        "line 5: 1.5 is not a whole number.",
        "line 6: '1,234' is not a number.",
        "line 7: The row has more cells than the header.",
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"time,model\n1,\xff\n", "is not CSV in UTF-8"),
        (b"time,model\n1," + b"x" * 200_000 + b"\n", "cannot be read at line 2"),
        (b"model,cost\nm,1\n", "has no column with the time of the calls"),
        (b"amount_value,line_item,start_time\n1,x,1\n", "is an export of costs"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(content: bytes, fault: str) -> None:
    with pytest.raises(FileError, match=fault):
        read(content)


def parquet_file(columns: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def test_parquet_has_the_same_columns_as_csv() -> None:
    at = datetime(2026, 11, 2, 9, tzinfo=UTC)
    content = parquet_file(
        {
            "timestamp": pa.array([at, at, None], pa.timestamp("ns", tz="UTC")),
            "model": ["m", "m", "m"],
            "prompt_tokens": [12, None, 1],
            "completion_tokens": [3.0, None, 0.5],
            "cost": [Decimal("0.10"), None, None],
            "tags": [["a"], None, None],
            "note": ["secret", None, None],
        }
    )
    form, events, faults = read(content)
    assert form is FileFormat.PARQUET
    assert events[0] == {
        "occurred_at": "2026-11-02T09:00:00Z",
        "model": "m",
        "usage": {"prompt_tokens": 12, "completion_tokens": 3},
        "cost_usd": "0.10",
        "tags": ["a"],
    }
    assert events[1] == {"occurred_at": "2026-11-02T09:00:00Z", "model": "m"}
    assert faults == ["row 3: 0.5 is not a whole number."]


def test_a_day_is_its_first_moment_in_utc() -> None:
    _, events, _ = read(parquet_file({"date": [date(2026, 11, 2)], "model": ["m"], "cost": [0.5]}))
    assert events == [{"occurred_at": "2026-11-02T00:00:00Z", "model": "m", "cost_usd": "0.5"}]


def test_parquet_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    content = parquet_file({"time": [1]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FileError, match=r"pip install 'costtrack\[parquet\]'"):
        read(content)


def test_a_damaged_parquet_file_is_refused() -> None:
    content = parquet_file({"time": list(range(1000)), "model": ["m"] * 1000})
    for damaged in (content[:-20], content[:8] + b"\xff" * 200 + content[208:]):
        with pytest.raises(FileError, match=r"is not a valid Parquet file|cannot be read after row"):
            read(damaged)
