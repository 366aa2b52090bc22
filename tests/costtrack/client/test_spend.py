"""`costtrack spend logs|tags|calculate`."""

from pathlib import Path

import pytest

from tests.costtrack.client.conftest import Run, Server

LOG = {
    "request_id": "chatcmpl-1",
    "call_type": "acompletion",
    "api_key": "88dc28d0",
    "spend": 0.000002,
    "total_tokens": 100,
    "prompt_tokens": 20,
    "completion_tokens": 80,
    "startTime": "2024-01-01T09:00:00Z",
    "model": "gpt-4",
    "user": "user-1",
    "metadata": {},
    "request_tags": ["project:search", "env:staging"],
    "status": "success",
}
DAY = {
    "startTime": "2024-01-01",
    "spend": 0.0123,
    "users": {"user-1": 0.01, "user-2": 0.0023},
    "models": {"gpt-4": 0.01, "": 0.0023},
    "88dc28d0": 0.0123,
}


DATES = ["--start-date", "2024-01-01", "--end-date", "2024-01-02"]


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ([], {}),
        (
            [*["--request-id", "r", "--api-key", "k", "--user-id", "u"], *DATES],
            {"request_id": "r", "api_key": "k", "user_id": "u", "start_date": "2024-01-01", "end_date": "2024-01-02"},
        ),
        (["--summarize"], {"summarize": "true"}),
        (["--no-summarize"], {"summarize": "false"}),
    ],
)
def test_what_logs_asks(arguments: list[str], query: dict[str, str], run: Run, server: Server) -> None:
    server.answers([])
    assert run("spend", "logs", *arguments).out == "no spend\n"
    assert (server.last.method, server.last.path, server.last.query) == ("GET", "/spend/logs", query)


def test_requests_are_one_line_each_without_losing_a_digit(run: Run, server: Server) -> None:
    server.answers(
        b'[{"request_id": "r", "model": "m", "spend": 1e-7}, {"request_id": "s", "spend": 0.1234567890123456789}]'
    )
    assert run("spend", "logs").out.splitlines() == [
        "request id  model                   spend",
        "r           m      $0.0000001000000000000",
        "s                  $0.1234567890123456789",
    ]


def test_the_documented_log_object_is_readable(run: Run, server: Server) -> None:
    server.answers([LOG])
    assert run("spend", "logs").lines == [
        "startTime request id model status user prompt tokens completion tokens total tokens spend request tags",
        "2024-01-01T09:00:00Z chatcmpl-1 gpt-4 success user-1 20 80 100 $0.000002 project:search, env:staging",
    ]


def test_days_show_models_and_users(run: Run, server: Server) -> None:
    server.answers([DAY, {"startTime": "2024-01-02", "spend": 0, "users": {}, "models": {}}])
    assert run("spend", "logs", *DATES).lines == [
        "startTime spend models users",
        "2024-01-01 $0.0123 gpt-4 $0.01, (none) $0.0023 user-1 $0.01, user-2 $0.0023",
        "2024-01-02 $0.0000",
    ]


def test_tags(run: Run, server: Server) -> None:
    server.answers([{"individual_request_tag": "app-prod", "log_count": 2, "total_spend": 0.000224}])
    done = run("spend", "tags", "--start-date", "2024-01-01")
    assert (server.last.path, server.last.query) == ("/spend/tags", {"start_date": "2024-01-01"})
    assert done.lines == ["individual request tag log count total spend", "app-prod 2 $0.000224"]


# --- Calculate -------------------------------------------------------------------------------------------------


def test_a_prompt_is_estimated_from_a_model_and_messages(run: Run, server: Server) -> None:
    server.answers({"cost": 0.0000255})
    done = run("spend", "calculate", "--model", "gpt-4", "--message", "Hey", "--message", "how's it going? é")
    assert (server.last.method, server.last.path) == ("POST", "/spend/calculate")
    assert server.last.json() == {
        "model": "gpt-4",
        "messages": [{"role": "user", "content": "Hey"}, {"role": "user", "content": "how's it going? é"}],
    }
    assert done.lines == ["cost $0.0000255"]


def test_the_request_may_come_as_text_file_or_stdin(run: Run, server: Server, tmp_path: Path) -> None:
    server.answers({"cost": 1})
    request = '{"completion_response": {"model": "m", "usage": {"total_tokens": 21}}}'
    path = tmp_path / "request.json"
    path.write_text(request, encoding="utf-8-sig")

    assert run("spend", "calculate", "--body", request).code == 0
    assert run("spend", "calculate", "--file", str(path)).code == 0
    assert run("spend", "calculate", "--file", "-", stdin=request).code == 0

    assert [sent.body.decode() for sent in server.requests] == [request] * 3


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--model", "m"],
        ["--message", "text"],
        ["--body", "{}", "--model", "m", "--message", "text"],
        ["--body", "{}", "--file", "x"],
        ["--body", "nothing"],
        ["--file", ""],
    ],
)
def test_none_or_two_requests_are_wrong_arguments(arguments: list[str], run: Run, server: Server) -> None:
    assert run("spend", "calculate", *arguments).code == 2
    assert server.requests == []


def test_a_file_that_cannot_be_read_is_one_line(run: Run, server: Server, tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    missing = tmp_path / "missing"
    assert run("spend", "calculate", "--file", str(binary)).err == f"costtrack: {binary} is not UTF-8 text\n"
    done = run("spend", "calculate", "--file", str(missing))
    assert (done.code, done.err) == (1, f"costtrack: {missing} cannot be read: No such file or directory\n")
