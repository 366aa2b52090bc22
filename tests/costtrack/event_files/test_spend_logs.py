"""Rows of LiteLLM's spend logs, as JSON of its API and as CSV of its database."""

import csv
import io
import json
from typing import Any

from costtrack.event_files import FileFormat
from tests.costtrack.event_files.reading import lines, read

SECRET = "MARKED-SECRET"


def row(**fields: Any) -> dict[str, Any]:
    return {
        "request_id": "chatcmpl-AbCdEf123456",
        "call_type": "acompletion",
        "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
        "spend": 0.0125,
        "total_tokens": 1100,
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "startTime": "2026-11-02T09:00:00.500000",
        "endTime": "2026-11-02T09:00:02Z",
        "model": "openai/gpt-4o",
        "custom_llm_provider": "openai",
        "user": "jane",
        "end_user": "",
        "metadata": {
            "user_api_key_team_alias": "red",
            "user_api_key_alias": "shop",
            "usage_object": {"prompt_tokens": 900, "prompt_tokens_details": {"cached_tokens": 400}, "text": SECRET},
            "spend_logs_metadata": {"run_id": "run-1", "note": SECRET},
        },
        "cache_hit": "False",
        "request_tags": ["a", "b"],
        "messages": [{"content": SECRET}],
        "response": {"content": SECRET},
        "proxy_server_request": {"messages": SECRET},
        "session_id": "s1",
        "status": "success",
        **fields,
    }


EVENT = {
    "id": "chatcmpl-AbCdEf123456",
    "source": "litellm-spend-logs",
    "request_id": "chatcmpl-AbCdEf123456",
    "kind": "model_call",
    "status": "success",
    "occurred_at": "2026-11-02T09:00:00.500000Z",
    "duration_ms": 1500,
    "capability": "chat",
    "service": "openai",
    "model": "gpt-4o",
    "session_id": "s1",
    "user_id": "jane",
    "team": "red",
    "tags": ["a", "b"],
    "run_id": "run-1",
    "metadata": {"litellm": {"call_type": "acompletion", "api_key_alias": "shop"}},
    "usage": {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 400},
        "response_cost": "0.0125",
    },
}


def as_csv(*rows: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    for fields in rows:
        cells = {name: json.dumps(cell) if isinstance(cell, dict | list) else cell for name, cell in fields.items()}
        writer.writerow(cells)
    return text.getvalue()


def test_a_row_is_an_event_whether_it_is_json_or_csv() -> None:
    for content in (json.dumps([row()]), lines(row(), row(request_id="other-id")), as_csv(row())):
        form, events, faults = read(content)
        assert (form, faults) == (FileFormat.SPEND_LOGS, [])
        assert events[0] == EVENT
        assert SECRET not in json.dumps(events)


def test_answers_of_litellms_cache_and_failures_cost_nothing() -> None:
    cached = row(cache_hit="True", spend=0.0)
    failed = row(status="failure", spend=0.0, prompt_tokens=0, completion_tokens=0, metadata={})
    _, events, _ = read(lines(cached, failed))
    assert (events[0]["cost_usd"], "response_cost" in events[0]["usage"]) == (0, False)
    assert (events[1]["status"], events[1].get("usage"), events[1].get("cost_usd")) == ("failure", None, None)


def test_placeholders_are_no_users_and_prefixes_no_models() -> None:
    _, events, _ = read(lines(row(user="default_user_id", custom_llm_provider="", model="groq/openai/gpt-oss-120b")))
    assert events[0].get("user_id") is None
    assert (events[0]["service"], events[0]["model"]) == ("groq", "openai/gpt-oss-120b")


def test_a_row_that_cannot_be_read_is_named() -> None:
    _, events, faults = read(as_csv(row(), row(request_id=""), row(startTime="soon"), row(prompt_tokens="many")))
    assert len(events) == 1
    assert faults == [
        "line 3: The row has no request_id.",
        "line 4: 'soon' is not a time: use 2026-11-02T09:00:00Z.",
        "line 5: 'many' is not a number.",
    ]
