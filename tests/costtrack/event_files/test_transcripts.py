"""Transcripts of Claude Code and Codex: each call once, and no content."""

import io
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from costtrack.event_files import FileError, FileFormat, ReadOptions
from costtrack.event_files.event_file import TranscriptFolder
from costtrack.event_files.transcripts import claude_records
from tests.costtrack.event_files.reading import NOW, lines, read, usages

SECRET = "MARKED-SECRET"


def message(message_id: str, output: int, *, session: str = "s1", **fields: Any) -> dict[str, Any]:
    """A line of an answer, with content in every field that has some."""
    usage = {
        "input_tokens": 4,
        "cache_creation_input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 10},
        "output_tokens": output,
        "service_tier": "standard",
        "server_tool_use": {"web_search_requests": 1, "query": SECRET},
        "note": SECRET,
    }
    answer: dict[str, Any] = {"id": message_id, "model": "claude-opus-5", "role": "assistant", "usage": usage}
    answer["content"] = [{"type": "text", "text": SECRET}, {"type": "tool_use", "input": {"command": SECRET}}]
    return {
        "type": "assistant",
        "sessionId": session,
        "requestId": f"req_{message_id}",
        "timestamp": "2026-11-02T09:00:00.123Z",
        "cwd": f"/home/{SECRET}/shop",
        "gitBranch": SECRET,
        "toolUseResult": {"stdout": SECRET, "usage": {"input_tokens": 10**6}},
        "message": answer,
        **fields,
    }


USER = {"type": "user", "sessionId": "s1", "message": {"role": "user", "content": SECRET}, "slug": SECRET}


def test_the_last_line_of_a_message_counts_and_none_twice() -> None:
    content = lines(USER, message("msg_1", 1), USER, message("msg_2", 5), message("msg_1", 80))
    form, events, faults = read(content + b'\n{"type":"assistant","mess')
    assert (form, faults) == (FileFormat.CLAUDE_CODE, [])
    assert [(event["id"], event["usage"]["output_tokens"]) for event in events] == [("msg_1", 80), ("msg_2", 5)]
    assert events[0] == {
        "id": "msg_1",
        "source": "claude-code",
        "request_id": "req_msg_1",
        "kind": "model_call",
        "occurred_at": "2026-11-02T09:00:00.123000Z",
        "service": "anthropic",
        "model": "claude-opus-5",
        "capability": "chat",
        "session_id": "s1",
        "workspace_id": "shop",
        "usage": {
            "input_tokens": 4,
            "cache_creation_input_tokens": 10,
            "cache_read_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 10},
            "output_tokens": 80,
            "service_tier": "standard",
            "server_tool_use": {"web_search_requests": 1},
        },
    }


def test_messages_of_claude_code_itself_and_progress_are_no_calls() -> None:
    own = message("msg_3", 0)
    own["message"]["model"] = "<synthetic>"
    progress = {"type": "progress", "sessionId": "s1", "data": {"message": message("msg_4", 9)}}
    _, events, _ = read(lines(USER, own, progress, message("msg_bdrk_5", 2, isSidechain=True, agentId="a1")))
    assert [(event["id"], event["service"], event["agent_id"]) for event in events] == [("msg_bdrk_5", "aws", "a1")]


def test_the_message_that_is_being_written_is_left_for_the_next_time() -> None:
    done = message("msg_1", 80)
    begun = message("msg_2", 1)
    growing = io.BytesIO(lines(done, begun))
    assert [json.loads(record.json)["id"] for record in claude_records(growing, is_growing=True)] == ["msg_1"]
    begun["message"]["stop_reason"] = "end_turn"
    finished = io.BytesIO(lines(done, begun))
    assert len(list(claude_records(finished, is_growing=True))) == 2


def meta(thread: str, **fields: Any) -> dict[str, Any]:
    payload = {"id": thread, "cwd": f"C:\\{SECRET}\\shop", "instructions": SECRET, "model_provider": "openai", **fields}
    return {"timestamp": "2026-11-02T09:00:00Z", "type": "session_meta", "payload": payload}


def turn(model: str = "gpt-5-codex") -> dict[str, Any]:
    payload = {"model": model, "user_instructions": SECRET}
    return {"timestamp": "2026-11-02T09:00:00Z", "type": "turn_context", "payload": payload}


def counts(total: int, cached: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": total - total // 10,
        "cached_input_tokens": cached,
        "output_tokens": total // 10,
        "reasoning_output_tokens": 0,
        "total_tokens": total,
    }


def tokens(total: int, last: int | None, at: str = "2026-11-02T09:01:00Z") -> dict[str, Any]:
    info = {"total_token_usage": counts(total), "last_token_usage": {} if last is None else counts(last), "x": SECRET}
    payload = {"type": "token_count", "info": info, "rate_limits": {"plan_type": "plus"}}
    return {"timestamp": at, "type": "event_msg", "payload": payload}


TEXT = {
    "timestamp": "2026-11-02T09:00:30Z",
    "type": "response_item",
    "payload": {"type": "message", "content": [{"text": SECRET}], "arguments": SECRET},
}
NO_INFO = {"timestamp": "2026-11-02T09:00:30Z", "type": "event_msg", "payload": {"type": "token_count", "info": None}}


def test_totals_of_a_thread_are_counted_once() -> None:
    content = lines(
        meta("t1"), turn(), TEXT, NO_INFO, tokens(100, 100), tokens(100, 100), tokens(250, 150), turn("gpt-6")
    )
    form, events, faults = read(content + b"\n" + lines(tokens(300, None), tokens(80, None)))
    assert (form, faults) == (FileFormat.CODEX, [])
    assert [usage["total_tokens"] for usage in usages(events)] == [100, 150, 50, 80]
    assert [event["model"] for event in events] == ["gpt-5-codex", "gpt-5-codex", "gpt-6", "gpt-6"]
    assert {event["session_id"] for event in events} == {"t1"}
    assert events[0]["usage"] == counts(100)
    assert (events[0]["service"], events[0]["workspace_id"]) == ("openai", "shop")


def test_the_copied_history_of_a_fork_has_the_ids_of_the_original() -> None:
    original = [meta("t1"), turn(), tokens(100, 100), tokens(250, 150)]
    rewritten = [tokens(100, 100, "2026-11-03T10:00:00Z"), tokens(250, 150, "2026-11-03T10:00:00Z")]
    fork = [meta("t2", forked_from_id="t1"), meta("t1"), turn(), *rewritten, tokens(400, 150)]
    plain_fork = [meta("t3", forked_from_id="t1"), turn(), *rewritten, tokens(500, 250)]
    ids = [[event["id"] for event in read(lines(*content))[1]] for content in (original, fork, plain_fork)]
    assert ids[1][:2] == ids[0]
    assert ids[2][:2] == ids[0]
    assert len({*ids[0], *ids[1], *ids[2]}) == 4


def test_a_subagent_that_inherits_totals_counts_its_own_calls() -> None:
    _, events, _ = read(lines(meta("t9"), turn(), tokens(130_000_100, 100)))
    assert [usage["total_tokens"] for usage in usages(events)] == [100]


def test_no_content_is_in_a_record() -> None:
    claude = lines(USER, message("msg_1", 80), {"type": "summary", "leafUuid": "x", "summary": SECRET})
    codex = lines(meta("t1"), turn(), TEXT, tokens(100, 100))
    for content in (claude, codex):
        _, events, _ = read(content)
        assert events
        assert SECRET not in json.dumps(events)


def test_a_folder_is_read_from_the_oldest_file_to_the_newest(tmp_path: Path) -> None:
    folder = tmp_path / "projects" / "shop"
    folder.mkdir(parents=True)
    for age, (name, content) in enumerate(
        {
            "new.jsonl": lines(USER, message("msg_1", 80, session="s2"), message("msg_2", 5, session="s2")),
            "old.jsonl": lines(USER, message("msg_1", 80)),
            "codex.jsonl": lines(meta("t1"), turn(), tokens(100, 100)),
            "other.jsonl": lines({"id": "an event"}),
            "notes.txt": SECRET.encode(),
        }.items()
    ):
        (folder / name).write_bytes(content)
        changed = (NOW - timedelta(days=1 + age)).timestamp()
        os.utime(folder / name, (changed, changed))

    source = TranscriptFolder(tmp_path, ReadOptions(defaults={"user_id": "jane"}, now=NOW))
    records = list(source.records())

    assert [record.location for record in records] == [
        "projects/shop/codex.jsonl line 3",
        "projects/shop/old.jsonl line 2",
        "projects/shop/new.jsonl line 2",
        "projects/shop/new.jsonl line 3",
    ]
    events = [json.loads(record.json) for record in records]
    assert [event["session_id"] for event in events] == ["t1", "s1", "s2", "s2"]
    assert {event["user_id"] for event in events} == {"jane"}
    assert source.digest == TranscriptFolder(tmp_path).digest


def test_a_folder_without_transcripts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(lines({"id": "an event"}))
    with pytest.raises(FileError, match="has no transcripts"):
        TranscriptFolder(tmp_path)
