"""Usage exports of OpenAI and Anthropic as events: the pages of their usage APIs, and the CSV files of their consoles.

A row is the sum of the requests of a bucket of time, by model, key and so on. Its event has `requests`, which marks it
as an aggregate; 0 if the provider does not say how many there were.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from costtrack.event_files.types import (
    ANTHROPIC_USAGE,
    OPENAI_USAGE,
    FileError,
    Record,
    Row,
    RowError,
    stable_id,
    to_record,
)
from costtrack.event_files.values import count, instant, text

MAX_PAGES_BYTES = 64 * 1024 * 1024
_DAY = timedelta(days=1)
_PRICED_RESULTS = ("completions", "embeddings")
_OPENAI_COUNTS = (
    *("input_tokens", "input_cached_tokens", "input_cache_write_tokens", "output_tokens"),
    *("input_audio_tokens", "output_audio_tokens"),
)
_OPENAI_DIMENSIONS = ("project_id", "user_id", "api_key_id", "service_tier", "api_source")
_ANTHROPIC_CSV = {
    "usage_input_tokens_no_cache": "uncached_input_tokens",
    "usage_input_tokens_cache_read": "cache_read_input_tokens",
    "usage_output_tokens": "output_tokens",
}
_LONG_CONTEXT = ("200k-1M", "> 200k", ">200k")
_UNKNOWN = ("", "not_available", "unknown", "null")


def is_openai_usage(names: Iterable[str]) -> bool:
    return {"num_model_requests", "start_time"} <= set(names)


def is_anthropic_usage(names: Iterable[str]) -> bool:
    known = set(names)
    return "usage_input_tokens_no_cache" in known or {"uncached_input_tokens", "starting_at"} <= known


def is_cost_export(names: Iterable[str]) -> bool:
    """Whether these are amounts of a provider's bill, which would count the same usage again."""
    known = set(names)
    return bool({"amount_value", "line_item"} & known) or {"amount", "cost_type"} <= known


def page_rows(file: BinaryIO) -> Iterator[Row]:
    """Yield the results of all buckets, each with the time of its bucket. The file is one page, a list of pages, or a
    page on each line. Raises FileError."""
    file.seek(0)
    content = file.read(MAX_PAGES_BYTES + 1)
    if len(content) > MAX_PAGES_BYTES:
        raise FileError(f"is larger than {MAX_PAGES_BYTES // 1024 // 1024} MB, the most for a usage export")
    for page_index, page in enumerate(_pages(content)):
        buckets = page.get("data") if isinstance(page, dict) else None
        if not isinstance(buckets, list):
            raise FileError(f"is not a usage export: page {page_index} has no list named data")
        for bucket_index, bucket in enumerate(buckets):
            results = bucket.get("results") if isinstance(bucket, dict) else None
            if not isinstance(results, list):
                raise FileError(f"is not a usage export: data[{bucket_index}] has no list named results")
            times = {name: value for name, value in bucket.items() if name not in ("results", "object")}
            for index, result in enumerate(results):
                if isinstance(result, dict):
                    location = f"data[{bucket_index}].results[{index}]"
                    yield Row(f"page {page_index + 1}, {location}" if page_index else location, {**times, **result})


def _pages(content: bytes) -> list[Any]:
    try:
        page = json.loads(content)
    except (ValueError, RecursionError) as error:
        try:
            return [json.loads(line) for line in content.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise FileError(f"is not valid JSON: {error}") from error
    return page if isinstance(page, list) else [page]


def openai_event(row: Row, now: datetime) -> Record:
    """Convert a result of OpenAI's usage API, or a row of its CSV, to an event. Raises RowError."""
    values = row.values
    start, end = instant(values.get("start_time"), "start_time"), instant(values.get("end_time"), "end_time")
    kind = _result_kind(values)
    model = text(values.get("model"))
    if kind not in _PRICED_RESULTS:
        raise RowError(f"Usage of {kind} has no tokens; only completions and embeddings are imported.", "object")
    _check(start, end, model, now)
    usage = {name: count(values.get(name), name) for name in _OPENAI_COUNTS}
    if kind == "embeddings":
        usage["output_tokens"] = usage.get("output_tokens") or 0
    is_batch = (text(values.get("batch")) or "").lower() == "true"
    dimensions = {name: text(values.get(name)) for name in _OPENAI_DIMENSIONS}
    return to_record(
        row.location,
        {
            "id": stable_id(start, end, kind, model, is_batch, *dimensions.values()),
            "source": OPENAI_USAGE,
            "kind": "model_call",
            "occurred_at": start,
            "service": "openai",
            "model": model,
            "capability": "embeddings" if kind == "embeddings" else None,
            "service_tier": "batch" if is_batch else dimensions["service_tier"],
            "user_id": dimensions["user_id"],
            "cost_group": dimensions["project_id"],
            "usage": {name: value for name, value in usage.items() if value is not None},
            "requests": count(values.get("num_model_requests"), "num_model_requests") or 0,
            "metadata": _metadata("openai", end, api_key_id=dimensions["api_key_id"]),
        },
    )


def anthropic_event(row: Row, now: datetime) -> Record:
    """Convert a result of Anthropic's usage report, or a row of its CSV, to an event. Raises RowError."""
    values = row.values
    start, end = _anthropic_bucket(values)
    model = text(values.get("model")) or text(values.get("model_version"))
    _check(start, end, model, now)
    tier = _known(values, "service_tier") or _known(values, "usage_type")
    dimensions = {
        "api_key_id": text(values.get("api_key_id")) or text(values.get("api_key")),
        "workspace_id": text(values.get("workspace_id")) or text(values.get("workspace")),
        "context_window": text(values.get("context_window")),
        "inference_geo": _known(values, "inference_geo"),
        "speed": _known(values, "speed"),
    }
    usage = {**_anthropic_counts(values), **{name: dimensions[name] for name in ("inference_geo", "speed")}}
    return to_record(
        row.location,
        {
            "id": stable_id(start, end, model, tier, *dimensions.values()),
            "source": ANTHROPIC_USAGE,
            "kind": "model_call",
            "occurred_at": start,
            "service": "anthropic",
            "model": model,
            "service_tier": tier,
            "cost_group": dimensions["workspace_id"],
            "usage": {name: value for name, value in usage.items() if value not in (None, {})},
            # Each request of this bucket had a long prompt, so the sum is in the right tier of prices like one request.
            "requests": 1 if dimensions["context_window"] in _LONG_CONTEXT else 0,
            "metadata": _metadata("anthropic", end, **dimensions),
        },
    )


def _anthropic_counts(values: Mapping[str, Any]) -> dict[str, Any]:
    names = ("uncached_input_tokens", "cache_read_input_tokens", "output_tokens")
    usage: dict[str, Any] = {name: count(values.get(name), name) for name in names}
    for column, name in _ANTHROPIC_CSV.items():
        if column in values:
            usage[name] = count(values[column], column)
    lifetimes = values.get("cache_creation")
    written = {} if not isinstance(lifetimes, Mapping) else dict(lifetimes)
    for column, name in (("5m", "ephemeral_5m_input_tokens"), ("1h", "ephemeral_1h_input_tokens")):
        cell = values.get(f"usage_input_tokens_cache_write_{column}", written.get(name))
        written[name] = count(cell, name) or 0
    usage["cache_creation"] = {
        name: written[name] for name in ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
    }
    tools = values.get("server_tool_use")
    searches = tools.get("web_search_requests") if isinstance(tools, Mapping) else values.get("web_search_count")
    searches = count(searches, "web_search_requests")
    usage["server_tool_use"] = {"web_search_requests": searches} if searches else None
    return usage


def _anthropic_bucket(values: Mapping[str, Any]) -> tuple[str | None, str | None]:
    if "usage_date_utc" in values:
        start = instant(values["usage_date_utc"], "usage_date_utc")
        return start, None if start is None else (datetime.fromisoformat(start) + _DAY).isoformat()
    return instant(values.get("starting_at"), "starting_at"), instant(values.get("ending_at"), "ending_at")


def _check(start: str | None, end: str | None, model: str | None, now: datetime) -> None:
    if start is None:
        raise RowError("The bucket has no start.", "start_time")
    if model is None:
        raise RowError("The row has no model: export the usage grouped by model.", "model")
    if end is not None and datetime.fromisoformat(end).astimezone(UTC) > now:
        raise RowError(f"The bucket ends at {end}, so it is not complete yet.", "end_time")


def _result_kind(values: Mapping[str, Any]) -> str:
    """Return the kind in `organization.usage.completions.result`; CSV files have none."""
    parts = (text(values.get("object")) or "").split(".")
    return parts[2] if len(parts) > 2 else "completions"  # noqa: PLR2004


def _known(values: Mapping[str, Any], name: str) -> str | None:
    shown = text(values.get(name)) or ""
    return None if shown in _UNKNOWN else shown


def _metadata(provider: str, end: str | None, **others: str | None) -> dict[str, Any]:
    known = {"bucket_end": end, **others}
    return {provider: {name: value for name, value in known.items() if value is not None}}
