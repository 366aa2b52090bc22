"""All parsers of bodies and files, with examples of what they read."""

import base64
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from billing.ingest import cloudevents, json_events, lago, langfuse, litellm, otlp
from billing.ingest.body import decompress
from billing.ingest.json_records import split_records, split_tolerantly
from billing.ingest.otlp import json_encoding, protobuf
from billing.ingest.types import ParsedBatch
from costtrack.event_files import EventFile, FileFormat, ReadOptions
from costtrack.event_files.event_file import inflated
from tests.billing.ingest.test_otlp_senders import SENDERS, request, sender
from tests.fuzz import Target
from tests.otlp import as_json, metrics, point

LITELLM = Path(__file__).parents[1] / "billing" / "ingest" / "fixtures" / "litellm"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
_MAX_RECORDS = 1000
_MAX_MESSAGE = 1000
_MAX_COUNT = 2**63


class BrokenRuleError(Exception):
    """A parser returned something that no event may be."""


def _json(content_type: str, body: bytes) -> str:
    return _describe(json_events.parse(body, content_type=content_type, max_events=_MAX_RECORDS, now=NOW))


def _records(body: bytes) -> str:
    return str(len(split_records(body, content_type="", max_records=_MAX_RECORDS)).bit_length())


def _litellm(body: bytes) -> str:
    records = split_tolerantly(body, content_type="application/json", max_records=_MAX_RECORDS)
    for record in records:
        litellm.without_prompts(bytes(record))
    return _describe(litellm.parse(records, now=NOW))


def _cloudevents(body: bytes) -> str:
    records = cloudevents.split(body, content_type="", headers={}, max_records=_MAX_RECORDS)
    for record in records:
        cloudevents.without_prompts(record)
    return _describe(cloudevents.parse(records, now=NOW))


def _cloudevents_in_headers(body: bytes) -> str:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t"}
    records = cloudevents.split(body, content_type="application/json", headers=headers, max_records=_MAX_RECORDS)
    return _describe(cloudevents.parse(records, now=NOW))


def _lago(body: bytes) -> str:
    lago.is_lago(body)
    return _describe(lago.parse(lago.split(body, is_batch=True), now=NOW))


def _langfuse(body: bytes) -> str:
    return _describe(langfuse.to_events(langfuse.split(body, max_records=_MAX_RECORDS).generations, now=NOW))


def _otlp(decode: Callable[..., Any], body: bytes) -> str:
    records = decode(body, max_records=_MAX_RECORDS)
    otlp.parse([otlp.encode(record) for record in records], now=NOW)
    return _describe(otlp.to_events(records, now=NOW))


def _otlp_metrics(decode: Callable[..., Any], body: bytes) -> str:
    points, unreadable = decode(body, max_records=_MAX_RECORDS)
    return f"{bool(points)} {bool(unreadable)}"


def _inflate(encoding: str, body: bytes) -> str:
    return str(len(decompress(body, encoding=encoding, max_bytes=1 << 22)).bit_length())


def _describe(batch: ParsedBatch) -> str:
    """Return what is special about a batch. Raises BrokenRuleError."""
    for event in batch.events:
        _check(event)
    for error in batch.errors:
        if not error.message or len(error.message) > _MAX_MESSAGE or not error.code:
            raise BrokenRuleError(f"error {error.code!r}: {error.message!r}")
        msgspec.json.encode(error)  # it becomes part of a response
    codes = sorted({f"{error.code}:{error.field}"[:40] for error in batch.errors})
    fields = {name for parsed in batch.events for name in msgspec.json.decode(msgspec.json.encode(parsed.event))}
    return f"{len(batch.events).bit_length()} {' '.join(codes)} {' '.join(sorted(fields))}"


def _check(parsed: Any) -> None:
    """An event is stored by PostgreSQL: its texts have no NUL and no half characters, its numbers fit."""
    text = msgspec.json.encode(parsed.event).decode()
    if "\\u0000" in text:
        raise BrokenRuleError("a NUL in an event")
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "requests"):
        number = getattr(parsed.event, name, None)
        if isinstance(number, int) and not 0 <= number < _MAX_COUNT:
            raise BrokenRuleError(f"{name}: {number}")


def _file(body: bytes) -> str:
    with inflated(io.BytesIO(body), max_bytes=1 << 22) as file:
        read = EventFile(file, ReadOptions(now=NOW))
        records = list(read.records())
    for record in records:
        if b"\n" in record.json:
            raise BrokenRuleError(f"a line break in {record.location}")
        if not record.fault and read.format != FileFormat.JSON:  # its lines are passed on unchanged
            json.loads(record.json)
    faults = sorted({re.sub(r"[^a-z ]", "", record.fault)[:40] for record in records if record.fault})
    return f"{read.format} {len(records).bit_length()} {' '.join(faults)}"


_EVENT = (
    b'{"id":"e-1","occurred_at":"2026-11-29T10:00:00Z","model":"gpt-4o","provider":"openai","input_tokens":12,'
    b'"output_tokens":3,"cost_usd":"0.0012","user_id":"ada","tags":["a","b"],"metadata":{"k":[1,null,"x"]},'
    b'"usage":{"prompt_tokens":12,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}}'
)
_CLOUDEVENT = (
    b'{"specversion":"1.0","id":"1","source":"app","type":"call","subject":"ada","time":"2026-11-29T10:00:00Z",'
    b'"datacontenttype":"application/json","data":{"model":"gpt-4o","input_tokens":1,"cost_usd":0.1}}'
)
_LAGO = (
    b'{"events":[{"transaction_id":"t","external_subscription_id":"ada","code":"tokens","timestamp":1764000000.5,'
    b'"properties":{"model":"gpt-4o","input_tokens":"12","cost_usd":"0.1"}}]}'
)
_LANGFUSE = (
    b'{"batch":[{"id":"1","type":"trace-create","timestamp":"2026-11-29T10:00:00Z","body":{"id":"t","userId":"ada",'
    b'"sessionId":"s","tags":["x"]}},{"id":"2","type":"generation-create","timestamp":"2026-11-29T10:00:00Z","body":'
    b'{"id":"g","traceId":"t","model":"gpt-4o","startTime":"2026-11-29T10:00:00Z","endTime":"2026-11-29T10:00:01Z",'
    b'"usage":{"input":1,"output":2,"unit":"TOKENS"},"usageDetails":{"input":1},"costDetails":{"total":0.1}}}]}'
)
_FILES = (
    b"occurred_at,model,input_tokens,cost_usd,tags\n2026-11-29T10:00:00Z,gpt-4o,12,0.1,a;b\n,,,,\n",
    b"Created;Model;Tokens\n29.11.2026;gpt-4o;1.000\n",
    (
        b'{"type":"assistant","sessionId":"s","uuid":"u","timestamp":"2026-11-29T10:00:00Z","message":{"id":"m",'
        b'"model":"claude-sonnet-4-5","usage":{"input_tokens":1,"cache_creation":{"ephemeral_1h_input_tokens":3}}}}'
    ),
    (
        b'{"object":"page","data":[{"object":"bucket","start_time":1764000000,"end_time":1764003600,"results":[{'
        b'"object":"organization.usage.completions.result","input_tokens":1,"num_model_requests":3,"model":"gpt-4o"}]'
        b'}],"has_more":false}'
    ),
    (
        b'[{"request_id":"r","call_type":"acompletion","spend":0.1,"total_tokens":3,"prompt_tokens":1,"model":"m",'
        b'"startTime":"2026-11-29 10:00:00","endTime":"2026-11-29 10:00:01","metadata":"{}"}]'
    ),
)


def _targets() -> list[Target]:
    events = [_EVENT, b"[%b,%b]" % (_EVENT, _EVENT), b'{"events":[%b]}' % _EVENT, b"%b\n%b\n" % (_EVENT, _EVENT)]
    calls = [path.read_bytes() for path in sorted(LITELLM.glob("*.json"))]
    requests = [request(sender(name)) for name in SENDERS]
    traces = [exported for exported in requests if hasattr(exported, "resource_spans")]
    logs = [exported for exported in requests if hasattr(exported, "resource_logs")]
    points = [metrics([point(12, at=NOW, since=NOW)]), metrics([point(12.5, at=NOW)], is_delta=False)]

    def both(signal: str, exported: list[Any], run: Callable[..., str]) -> list[Target]:
        function = "spans" if signal == "traces" else signal
        as_text = [json.dumps(as_json(item)).encode() for item in exported]
        as_bytes = [item.SerializeToString() for item in exported]
        return [
            Target(f"otlp-{signal}-json", partial(run, getattr(json_encoding, function)), as_text),
            Target(f"otlp-{signal}-protobuf", partial(run, getattr(protobuf, function)), as_bytes),
        ]

    return [
        Target("json", partial(_json, "application/json"), events),
        Target("json-lines", partial(_json, "application/x-ndjson"), events),
        Target("records", _records, events),
        Target("litellm", _litellm, [*calls, *(b"[%b]" % call for call in calls[:5])]),
        Target("cloudevents", _cloudevents, [_CLOUDEVENT, b"[%b]" % _CLOUDEVENT]),
        Target("cloudevents-headers", _cloudevents_in_headers, [_EVENT]),
        Target("lago", _lago, [_LAGO]),
        Target("langfuse", _langfuse, [_LANGFUSE]),
        *both("traces", traces, _otlp),
        *both("logs", logs, _otlp),
        *both("metrics", points, _otlp_metrics),
        Target("files", _file, [*events, *_FILES, *calls[:3]]),
        Target("gzip", partial(_inflate, "gzip"), [gzip.compress(_EVENT), gzip.compress(b"a") + gzip.compress(b"b")]),
        Target("deflate", partial(_inflate, "deflate"), [zlib.compress(_EVENT)]),
        Target("zstd", partial(_inflate, "zstd"), [base64.b64decode(b"KLUv/SQDGQAAYWJjIuIhCA==")]),
    ]


TARGETS = _targets()
