"""Transcripts of Claude Code and Codex as events, one per model call.

Only ids, times, names of models and counts are read; prompts, answers and arguments of tools stay on the machine.

Claude Code writes a line for each block of an answer, all with the usage of the whole message, the first ones before it
is complete: the last line of a message counts. Codex writes running totals of a thread: an entry whose totals are the
same as before repeats it, and a file of a resumed or forked thread begins with a copy of the old one. Copies get the
same ids, so they are duplicates.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath, PureWindowsPath
from typing import Any, BinaryIO

from costtrack.event_files.types import CLAUDE_CODE, CODEX, FileFormat, Record, RowError, stable_id, to_record
from costtrack.event_files.values import instant, text

_MAX_LINE_BYTES = 64 * 1024 * 1024
_HEAD_LINES = 50
_CLAUDE_TYPES = frozenset({"user", "assistant", "system", "summary", "file-history-snapshot", "queue-operation"})
_CLAUDE_NAMES = ("sessionId", "leafUuid", "messageId")
_NOT_A_MODEL = "<synthetic>"  # of messages that Claude Code writes itself
_PLATFORMS = (("msg_bdrk_", "aws"), ("msg_vrtx_", "google"))
# Conditions of the price; other texts of a usage object are not sent.
_CONDITIONS = frozenset({"service_tier", "speed", "inference_geo"})
_CODEX_COUNTS = (
    *("input_tokens", "cached_input_tokens", "cache_write_input_tokens", "output_tokens"),
    *("reasoning_output_tokens", "total_tokens"),
)
_MAX_DEPTH = 4


def transcript_format(file: BinaryIO) -> FileFormat | None:
    """Return whose transcript a file of JSON lines is; None if it is none."""
    file.seek(0)
    for _ in range(_HEAD_LINES):
        raw = file.readline(_MAX_LINE_BYTES)
        if not raw:
            break
        line = _object(raw)
        if line is None:
            continue
        if isinstance(line.get("payload"), dict) and "type" in line and "timestamp" in line:
            return FileFormat.CODEX
        if line.get("type") in _CLAUDE_TYPES and any(name in line for name in _CLAUDE_NAMES):
            return FileFormat.CLAUDE_CODE
    return None


def claude_records(file: BinaryIO, *, is_growing: bool = False) -> Iterator[Record]:
    """Yield the messages of a transcript in the order in which they began. If it `is_growing`, the last one is left for
    the next time unless it is complete."""
    latest: dict[str, tuple[int, Mapping[str, Any]]] = {}
    for number, line in _lines(file, b'"usage"'):
        message = line.get("message")
        if line.get("type") == "assistant" and isinstance(message, dict) and isinstance(message.get("usage"), dict):
            model, message_id = text(message.get("model")), text(message.get("id"))
            if model is not None and message_id is not None and model != _NOT_A_MODEL:
                latest[message_id] = (number, line)
    if is_growing and latest:
        last_id, (_, last) = max(latest.items(), key=lambda item: item[1][0])
        if not last["message"].get("stop_reason"):
            del latest[last_id]
    for message_id, (number, line) in latest.items():
        try:
            yield _claude_event(f"line {number}", message_id, line)
        except RowError as error:
            yield Record(f"line {number}", fault=str(error), field=error.field)


def _claude_event(location: str, message_id: str, line: Mapping[str, Any]) -> Record:
    message = line["message"]
    is_subagent = line.get("isSidechain") is True
    return to_record(
        location,
        {
            "id": message_id,
            "source": CLAUDE_CODE,
            "request_id": text(line.get("requestId")),
            "kind": "model_call",
            "occurred_at": instant(line.get("timestamp"), "timestamp"),
            "service": next((name for prefix, name in _PLATFORMS if message_id.startswith(prefix)), "anthropic"),
            "model": text(message["model"]),
            "capability": "chat",
            "session_id": text(line.get("sessionId")),
            "agent_id": (text(line.get("agentId")) or "subagent") if is_subagent else None,
            "workspace_id": _folder_name(line.get("cwd")),
            "usage": _counts(message["usage"]),
        },
    )


def codex_records(file: BinaryIO) -> Iterator[Record]:
    """Yield the calls of a transcript. The thread whose history a file begins with owns the ids of that history."""
    session = root = model = workspace = None
    provider = "openai"
    totals: dict[str, int] | None = None
    for number, line in _lines(file, b'"payload"'):
        payload = line["payload"] if isinstance(line.get("payload"), dict) else {}
        if line.get("type") == "session_meta":
            thread = text(payload.get("id")) or text(payload.get("session_id"))
            session = session or thread
            root = text(payload.get("forked_from_id")) or thread or root
            provider = text(payload.get("model_provider")) or provider
            workspace = _folder_name(payload.get("cwd")) or workspace
        elif line.get("type") == "turn_context":
            model = text(payload.get("model")) or model
            workspace = _folder_name(payload.get("cwd")) or workspace
        elif payload.get("type") == "token_count" and isinstance(payload.get("info"), dict):
            info = payload["info"]
            previous, totals = totals, _codex_counts(info.get("total_token_usage")) or totals
            usage = _codex_usage(info, previous, totals)
            if usage is None:
                continue
            try:
                yield to_record(
                    f"line {number}",
                    {
                        "id": stable_id(root, *(totals or {}).values(), *usage.values()),
                        "source": CODEX,
                        "kind": "model_call",
                        "occurred_at": instant(line.get("timestamp"), "timestamp"),
                        "service": provider,
                        "model": model,
                        "capability": "responses",
                        "session_id": session,
                        "workspace_id": workspace,
                        "usage": usage,
                    },
                )
            except RowError as error:
                yield Record(f"line {number}", fault=str(error), field=error.field)


def _codex_usage(
    info: Mapping[str, Any], previous: Mapping[str, int] | None, totals: Mapping[str, int] | None
) -> dict[str, int] | None:
    """Return the usage of the last call; None if the entry repeats the one before, or has no usage. Without the usage
    of the call itself, it is the growth of the totals."""
    if totals is not None and totals == previous:
        return None
    last = _codex_counts(info.get("last_token_usage"))
    if last is None and totals is not None:
        grown = {name: total - (previous or {}).get(name, 0) for name, total in totals.items()}
        last = dict(totals) if any(difference < 0 for difference in grown.values()) else grown
    return last if last and any(last.values()) else None


def _codex_counts(value: Any) -> dict[str, int] | None:
    if not isinstance(value, dict):
        return None
    counts = {name: value[name] for name in _CODEX_COUNTS if type(value.get(name)) is int}
    return counts or None


def _counts(usage: Mapping[str, Any], depth: int = _MAX_DEPTH) -> dict[str, Any]:
    """Return the numbers of a usage object and the conditions of its price, and nothing else."""
    known: dict[str, Any] = {}
    for name, value in usage.items():
        if isinstance(value, Mapping) and depth:
            known[name] = _counts(value, depth - 1)
        elif (isinstance(value, int | float) and not isinstance(value, bool)) or (
            name in _CONDITIONS and isinstance(value, str)
        ):
            known[name] = value
    return {name: value for name, value in known.items() if value != {}}


def _lines(file: BinaryIO, marker: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the numbers and objects of the lines that contain the marker. A line that is still being written is no JSON
    and is left for the next time."""
    file.seek(0)
    for number, raw in enumerate(_bounded_lines(file), start=1):
        if marker in raw and (line := _object(raw)) is not None:
            yield number, line


def _bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines; of one that is longer than any real line, only the end of its first part is lost."""
    while line := file.readline(_MAX_LINE_BYTES):
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(_MAX_LINE_BYTES)):
            line = b""
        yield line


def _object(raw: bytes) -> Mapping[str, Any] | None:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def _folder_name(path: Any) -> str | None:
    """Return the last part of a path, of any system."""
    shown = text(path)
    if shown is None:
        return None
    return (PureWindowsPath(shown) if "\\" in shown else PurePath(shown)).name or None


def transcript_records(file: BinaryIO, form: FileFormat, *, is_growing: bool = False) -> Iterable[Record]:
    if form is FileFormat.CLAUDE_CODE:
        return claude_records(file, is_growing=is_growing)
    return codex_records(file)
