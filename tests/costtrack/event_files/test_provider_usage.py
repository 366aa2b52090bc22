"""Usage exports of OpenAI and Anthropic: pages of their APIs and CSV of their consoles."""

import json
from typing import Any

import pytest

from costtrack.event_files import FileError, FileFormat
from tests.costtrack.event_files.reading import lines, read

OPENAI = {
    "object": "organization.usage.completions.result",
    "input_tokens": 1000,
    "output_tokens": 50,
    "input_cached_tokens": 800,
    "input_audio_tokens": 0,
    "output_audio_tokens": 0,
    "num_model_requests": 12,
    "project_id": "proj_1",
    "user_id": None,
    "api_key_id": "key_1",
    "model": "gpt-4o-2024-08-06",
    "batch": False,
    "service_tier": "default",
}
ANTHROPIC: dict[str, Any] = {
    "uncached_input_tokens": 1500,
    "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 1000},
    "cache_read_input_tokens": 200,
    "output_tokens": 500,
    "server_tool_use": {"web_search_requests": 10},
    "api_key_id": "apikey_1",
    "workspace_id": "wrkspc_1",
    "model": "claude-opus-5",
    "service_tier": "standard",
    "context_window": "0-200k",
}


def openai_page(*results: Any, start: int = 1793577600) -> dict[str, Any]:
    bucket = {"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": list(results)}
    return {"object": "page", "data": [bucket], "has_more": False, "next_page": None}


def anthropic_page(*results: Any) -> dict[str, Any]:
    times = {"starting_at": "2026-11-02T00:00:00Z", "ending_at": "2026-11-03T00:00:00Z"}
    return {"data": [{**times, "results": list(results)}], "has_more": False}


def test_a_bucket_of_openai_is_one_aggregate() -> None:
    form, events, faults = read(json.dumps(openai_page(OPENAI), indent=2))
    assert (form, faults) == (FileFormat.OPENAI_USAGE, [])
    assert len(events[0].pop("id")) == 32
    assert events == [
        {
            "source": "openai-usage",
            "kind": "model_call",
            "occurred_at": "2026-11-02T00:00:00Z",
            "service": "openai",
            "model": "gpt-4o-2024-08-06",
            "service_tier": "default",
            "cost_group": "proj_1",
            "usage": {
                "input_tokens": 1000,
                "input_cached_tokens": 800,
                "output_tokens": 50,
                "input_audio_tokens": 0,
                "output_audio_tokens": 0,
            },
            "requests": 12,
            "metadata": {"openai": {"bucket_end": "2026-11-03T00:00:00Z", "api_key_id": "key_1"}},
        }
    ]


def test_openais_csv_is_the_same_events_as_its_api() -> None:
    text = (
        "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,batch,"
        "service_tier,input_tokens,output_tokens,input_cached_tokens,input_audio_tokens,output_audio_tokens\n"
        "1793577600,1793664000,2026-11-02T00:00:00+00:00,2026-11-03T00:00:00+00:00,proj_1,12.0,,key_1,"
        "gpt-4o-2024-08-06,False,default,1000.0,50.0,800.0,0.0,0.0\n"
    )
    form, events, _ = read(text)
    assert form is FileFormat.OPENAI_USAGE
    assert events == read(lines(openai_page(OPENAI)))[1]


def test_rows_of_one_bucket_differ_by_their_dimensions() -> None:
    batch = {**OPENAI, "batch": True}
    _, events, _ = read(lines(openai_page(OPENAI, {**OPENAI, "api_key_id": "key_2"}), openai_page(batch)))
    assert len({event["id"] for event in events}) == 3
    assert events[2]["service_tier"] == "batch"


def test_what_cannot_be_imported_is_named() -> None:
    images = {**OPENAI, "object": "organization.usage.images.result"}
    page = openai_page(images, {**OPENAI, "model": None})
    _, events, faults = read(lines(page, openai_page(OPENAI, start=1795132800)))
    assert events == []
    assert faults == [
        "data[0].results[0]: Usage of images has no tokens; only completions and embeddings are imported.",
        "data[0].results[1]: The row has no model: export the usage grouped by model.",
        "page 2, data[0].results[0]: The bucket ends at 2026-11-21T00:00:00Z, so it is not complete yet.",
    ]


def test_a_bucket_of_anthropic_does_not_say_how_many_requests_it_has() -> None:
    form, events, _ = read(json.dumps(anthropic_page(ANTHROPIC, {**ANTHROPIC, "context_window": "200k-1M"})))
    assert form is FileFormat.ANTHROPIC_USAGE
    assert events[0]["usage"] == {
        "uncached_input_tokens": 1500,
        "cache_read_input_tokens": 200,
        "output_tokens": 500,
        "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 1000},
        "server_tool_use": {"web_search_requests": 10},
    }
    assert (events[0]["requests"], events[1]["requests"]) == (0, 1)
    assert (events[0]["cost_group"], events[0]["service_tier"]) == ("wrkspc_1", "standard")


def test_anthropics_csv_is_read() -> None:
    text = (
        "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
        "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
        "usage_output_tokens,web_search_count,inference_geo,speed\n"
        "2026-11-02,claude-opus-5,Shop,Default,batch,≤ 200k,1500,500,1000,200,500,10,not_available,\n"
        "2026-11-20,claude-opus-5,Shop,Default,standard,≤ 200k,1,0,0,0,1,0,us,fast\n"
    )
    form, events, faults = read(text)
    assert form is FileFormat.ANTHROPIC_USAGE
    assert events[0]["usage"] == read(json.dumps(anthropic_page(ANTHROPIC)))[1][0]["usage"]
    assert (events[0]["service_tier"], events[0]["requests"]) == ("batch", 0)
    assert faults == ["line 3: The bucket ends at 2026-11-21T00:00:00+00:00, so it is not complete yet."]


def test_an_export_of_costs_is_refused() -> None:
    cost = {"object": "organization.costs.result", "amount": {"value": 1.5, "currency": "usd"}, "line_item": "gpt-4o"}
    report = {"amount": "123.45", "cost_type": "tokens", "currency": "USD"}
    for page in (openai_page(cost), anthropic_page(report)):
        with pytest.raises(FileError, match="is an export of costs"):
            read(json.dumps(page))
