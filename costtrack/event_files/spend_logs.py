"""Rows of LiteLLM's table `LiteLLM_SpendLogs`, as its database or `GET /spend/logs` exports them, as events.

The events have LiteLLM's request id, by which a call that LiteLLM's callback has reported too is found to be the same
(docs/ingestion.md). `spend` is LiteLLM's estimate, which counts only if costtrack has no price. `messages`, `response`
and `proxy_server_request` are not read.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from costtrack.event_files.litellm_calls import MCP_CALL, PLACEHOLDER_USERS, capability_of
from costtrack.event_files.types import SPEND_LOGS, Record, Row, RowError, to_record
from costtrack.event_files.values import count, instant, number, text

_REQUIRED = frozenset({"request_id", "startTime", "spend"})
_PROXY_FIELDS = ("run_id", "parent_run_id", "workflow_id", "execution_id", "phase_id", "agent_id", "agent_name")
# Numbers of the usage object, which is stored in the metadata; texts there could be anything.
_MAX_DEPTH = 4


def is_spend_logs(names: Iterable[str]) -> bool:
    """Whether an object or a table with these names is of this format."""
    return set(names) >= _REQUIRED


def spend_log_event(row: Row) -> Record:
    """Convert a row to an event. Raises RowError."""
    values = row.values
    request_id = text(values.get("request_id"))
    if request_id is None:
        raise RowError("The row has no request_id.", "request_id")
    metadata = _object(values.get("metadata"))
    call_type = text(values.get("call_type")) or ""
    is_failure = "fail" in (text(values.get("status")) or text(metadata.get("status")) or "")
    start = instant(values.get("startTime"), "startTime")
    end_user = _user(values.get("end_user"))
    event: dict[str, Any] = {
        "id": request_id,
        "source": SPEND_LOGS,
        "request_id": request_id,
        "kind": "tool_call" if call_type == MCP_CALL else "model_call",
        "status": "failure" if is_failure else "success",
        "occurred_at": start,
        "duration_ms": _milliseconds(start, instant(values.get("endTime"), "endTime")),
        "capability": capability_of(call_type),
        **_model(values),
        "session_id": text(values.get("session_id")),
        "user_id": _user(values.get("user")) or _user(metadata.get("user_api_key_user_id")),
        "end_user": end_user,
        "team": text(metadata.get("user_api_key_team_alias")) or text(values.get("team_id")),
        "agent_id": text(values.get("agent_id")),
        "tags": [tag for item in _list(values.get("request_tags")) if (tag := text(item))],
        "metadata": _metadata(values, metadata),
    }
    event |= {name: shown for name in _PROXY_FIELDS if (shown := text(_caller(metadata).get(name)))}
    if not event.get("run_id"):
        event.pop("parent_run_id", None)
    spend = number(values.get("spend"), "spend") or Decimal(0)
    if (text(values.get("cache_hit")) or "").lower() == "true":
        event["cost_usd"] = max(spend, Decimal(0))
    elif event["kind"] == "tool_call":
        event["cost_usd"] = spend if spend > 0 else None
    event["usage"] = None if event["kind"] == "tool_call" else _usage(values, metadata, spend, event.get("cost_usd"))
    return to_record(row.location, event)


def _model(values: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the service and the model without its provider prefix."""
    service, model = text(values.get("custom_llm_provider")), text(values.get("model")) or ""
    prefix, slash, name = model.partition("/")
    if service is None and slash and name:
        service, model = prefix, name
    return {"service": service, "model": model.removeprefix(f"{service}/") if service else model}


def _usage(
    values: Mapping[str, Any], metadata: Mapping[str, Any], spend: Decimal, known_cost: Decimal | None
) -> dict[str, Any] | None:
    """Return LiteLLM's usage object with the totals of the row's columns, which come first; None if nothing is counted,
    because the usage may be unknown."""
    usage = {**_numbers(metadata.get("additional_usage_values")), **_numbers(metadata.get("usage_object"))}
    totals = {name: count(values.get(name), name) for name in ("prompt_tokens", "completion_tokens")}
    usage |= {name: total for name, total in totals.items() if total is not None}
    if not any(totals.values()) and not spend:
        return None
    if known_cost is None and spend > 0:
        usage["response_cost"] = spend
    return usage


def _numbers(value: Any, depth: int = _MAX_DEPTH) -> dict[str, Any]:
    """Return the numbers of a nested object, without texts and lists."""
    if not isinstance(value, Mapping) or not depth:
        return {}
    found: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            found[str(name)] = _numbers(item, depth - 1)
        elif isinstance(item, int | float | Decimal) and not isinstance(item, bool):
            found[str(name)] = item
    return {name: item for name, item in found.items() if item != {}}


def _metadata(values: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    known = {
        "call_type": text(values.get("call_type")),
        "model_group": text(values.get("model_group")),
        "cache_hit": True if (text(values.get("cache_hit")) or "").lower() == "true" else None,
        "api_key_alias": text(metadata.get("user_api_key_alias")),
        "team_id": text(values.get("team_id")),
        "organization_id": text(values.get("organization_id")),
    }
    known = {name: value for name, value in known.items() if value is not None}
    return {"litellm": known} if known else None


def _caller(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a caller had LiteLLM store with the call."""
    return _object(metadata.get("spend_logs_metadata"))


def _user(value: Any) -> str | None:
    name = text(value)
    return None if name in PLACEHOLDER_USERS else name


def _object(value: Any) -> Mapping[str, Any]:
    parsed = _json(value) if isinstance(value, str) else value
    return parsed if isinstance(parsed, Mapping) else {}


def _list(value: Any) -> list[Any]:
    parsed = _json(value) if isinstance(value, str) else value
    return list(parsed) if isinstance(parsed, list | tuple) else []


def _json(value: str) -> Any:
    try:
        return json.loads(value, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None


def _milliseconds(start: str | None, end: str | None) -> int | None:
    if start is None or end is None:
        return None
    elapsed = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return round(elapsed.total_seconds() * 1000) if elapsed.total_seconds() >= 0 else None
