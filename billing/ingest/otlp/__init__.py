"""OpenTelemetry's protocol over HTTP (docs/otlp.md). Pure: bytes in, events out.

`protobuf` and `json_encoding` decode a body into `records` without content, whose attributes `attributes` names;
`mapping` converts the calls of models among them to events.
"""

from billing.ingest.otlp.mapping import SOURCE, encode, parse, to_events, without_ids, without_prompts
from billing.ingest.otlp.metrics import SOURCE as METRICS_SOURCE
from billing.ingest.otlp.records import Record

__all__ = ["METRICS_SOURCE", "SOURCE", "Record", "encode", "parse", "to_events", "without_ids", "without_prompts"]
