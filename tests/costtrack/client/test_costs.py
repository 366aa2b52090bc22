"""`costtrack costs ...`."""

from typing import Any

import pytest

from tests.costtrack.client.conftest import Run, Server

RUNS = {
    "total_cost": 0.45,
    "costs_by_service": {"openai": 0.35, "anthropic": 0.1},
    "costs_by_group": {"openai": {"gpt-4": 0.25, "gpt-3.5-turbo": 0.1}, "anthropic": {"claude-3-opus": 0.1}},
}
SESSION = {
    "session_id": "s-1",
    "execution_id": "e-1",
    "workflow_id": None,
    "phase_id": "review",
    "workspace_id": None,
    "total_cost_usd": "1.5",
    "token_cost_usd": "1.0000001",
    "compute_cost_usd": "0.5",
    "input_tokens": 1000,
    "output_tokens": 200,
    "total_tokens": 1200,
    "cache_creation_tokens": 0,
    "cache_read_tokens": 0,
    "tool_calls": 3,
    "turns": 7,
    "duration_ms": 1234.5,
    "cost_by_model": {"claude_sonnet_4": "1.25", "gpt-4o": "0.25"},
    "cost_by_tool": {},
    "tokens_by_tool": {"Read": 5030},
    "cost_by_tool_tokens": {"Read": "0.01545"},
    "is_finalized": True,
    "started_at": "2026-11-02T09:00:00Z",
    "completed_at": None,
}
SUMMARY = {
    "total_cost_usd": "1234.5",
    "total_sessions": 12,
    "total_executions": 3,
    "total_tokens": 1_000_000,
    "total_tool_calls": 4,
    "top_models": [{"model": "gpt-4o", "cost_usd": "1000"}, {"model": "o3", "cost_usd": "234.5"}],
    "top_sessions": [{"session_id": "s-1", "cost_usd": "9.99", "tokens": 1234}],
}


@pytest.mark.parametrize(
    ("arguments", "path", "query"),
    [
        (["runs"], "/costs/runs", {}),
        (
            ["runs", "--workflow-id", "w", "--start-date", "2026-11-01", "--end-date", "2026-11-02T09:00:00+01:00"],
            "/costs/runs",
            {"workflow_id": "w", "start_date": "2026-11-01", "end_date": "2026-11-02T09:00:00+01:00"},
        ),
        (["runs", "--include-children"], "/costs/runs", {"include_children": "true"}),
        (["run", "run_1"], "/costs/runs/run_1", {}),
        (
            ["run", "a/b c?d#é%2F", "--include-children"],
            "/costs/runs/a%2Fb%20c%3Fd%23%C3%A9%252F",
            {"include_children": "true"},
        ),
        (["sessions"], "/costs/sessions", {}),
        (["sessions", "--execution-id", "e", "--limit", "7"], "/costs/sessions", {"execution_id": "e", "limit": "7"}),
        (["sessions", "-e", "e", "-n", "7"], "/costs/sessions", {"execution_id": "e", "limit": "7"}),
        (["session", "s"], "/costs/sessions/s", {}),
        (["session", "s", "--no-breakdown"], "/costs/sessions/s", {"include_breakdown": "false"}),
        (["executions", "--limit", "200"], "/costs/executions", {"limit": "200"}),
        (["execution", "e"], "/costs/executions/e", {}),
        (
            ["execution", "e", "--no-breakdown", "--session-ids"],
            "/costs/executions/e",
            {"include_breakdown": "false", "include_session_ids": "true"},
        ),
        (["summary"], "/costs/summary", {}),
    ],
)
def test_commands_send_the_documented_requests(
    arguments: list[str], path: str, query: dict[str, str], run: Run, server: Server
) -> None:
    server.answers({})
    assert run("costs", *arguments).code == 0
    assert (server.last.method, server.last.path, server.last.query) == ("GET", path, query)
    assert server.last.body == b""


@pytest.mark.parametrize("arguments", [["run"], ["run", ""], ["sessions", "-n", "many"], ["session", " "], []])
def test_wrong_arguments_ask_nothing(arguments: list[str], run: Run, server: Server) -> None:
    assert run("costs", *arguments).code == 2
    assert server.requests == []


def test_runs_are_shown_by_service_and_group(run: Run, server: Server) -> None:
    server.answers(RUNS)
    assert run("costs", "runs").out.splitlines() == [
        "total cost  $0.45",
        "",
        "service    group           cost",
        "openai                    $0.35",
        "           gpt-4          $0.25",
        "           gpt-3.5-turbo  $0.10",
        "anthropic                 $0.10",
        "           claude-3-opus  $0.10",
    ]


def test_what_has_no_price_yet_is_said(run: Run, server: Server) -> None:
    server.answers(RUNS, X_Costtrack_Unpriced_Events="1200")
    server.answers(RUNS, X_Costtrack_Unpriced_Events="0")
    assert run("costs", "runs").lines[-1] == "1,200 events have no price yet and are not included."
    assert "price yet" not in run("costs", "runs").out


def test_sessions_are_one_line_each(run: Run, server: Server) -> None:
    server.answers([SESSION, {**SESSION, "session_id": "s-2", "is_finalized": False, "total_cost_usd": "0.00001"}])
    assert run("costs", "sessions").lines == [
        "session id execution id phase id started at is finalized turns tool calls total tokens total cost",
        "s-1 e-1 review 2026-11-02T09:00:00Z yes 7 3 1,200 $1.50000",
        "s-2 e-1 review 2026-11-02T09:00:00Z no 7 3 1,200 $0.00001",
    ]


def test_a_session_shows_everything(run: Run, server: Server) -> None:
    server.answers(SESSION)
    assert run("costs", "session", "s-1").out.splitlines() == [
        "session id    s-1",
        "execution id  e-1",
        "workflow id",
        "phase id      review",
        "workspace id",
        "is finalized  yes",
        "started at    2026-11-02T09:00:00Z",
        "completed at",
        "",
        "total cost             $1.5000000",
        "token cost             $1.0000001",
        "compute cost           $0.5000000",
        "input tokens                1,000",
        "output tokens                 200",
        "total tokens                1,200",
        "cache creation tokens           0",
        "cache read tokens               0",
        "tool calls                      3",
        "turns                           7",
        "duration ms               1,234.5",
        "",
        "cost by model",
        "claude_sonnet_4  $1.25",
        "gpt-4o           $0.25",
        "",
        "tokens by tool",
        "Read  5,030",
        "",
        "cost by tool tokens",
        "Read  $0.01545",
    ]


def test_the_summary_has_its_top_lists(run: Run, server: Server) -> None:
    server.answers(SUMMARY)
    assert run("costs", "summary").lines == [
        "total cost $1,234.50",
        "total sessions 12",
        "total executions 3",
        "total tokens 1,000,000",
        "total tool calls 4",
        "top models",
        "model cost",
        "gpt-4o $1,000.00",
        "o3 $234.50",
        "top sessions",
        "session id cost tokens",
        "s-1 $9.99 1,234",
        "Only events with a session. All usage: costtrack usage summary",
    ]


def test_an_empty_list_says_so(run: Run, server: Server) -> None:
    server.answers([])
    assert run("costs", "executions").out == "no executions\n"


@pytest.mark.parametrize(
    "answer", [{}, [], None, 5, "text", [1, None], [{}], {"costs_by_service": []}, {"costs_by_service": {"a": {}}}]
)
@pytest.mark.parametrize("command", [["runs"], ["sessions"], ["execution", "e"], ["summary"]])
def test_an_answer_of_another_shape_is_shown_all_the_same(
    answer: Any, command: list[str], run: Run, server: Server
) -> None:
    server.answers(answer)
    assert run("costs", *command).code == 0
