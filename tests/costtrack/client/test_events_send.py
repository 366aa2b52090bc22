"""`costtrack events send FILE`, against a server that answers what the test says."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from costtrack.client.errors import CannotConnectError
from costtrack.client.progress import Lines
from costtrack.client.retrying import Retrying, pause
from costtrack.client.transport import Answer
from tests.costtrack.client.conftest import HANG_UP, Request, Run, Server

EVENTS = [{"id": f"e{number}", "model": "m"} for number in range(5)]


def accepted(count: int, **other: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"duplicates": 0, "conflicts": 0, "rejected": 0, "errors": []}
    return {"batch_id": "b", "accepted": count, **nothing, **other}


def lines_of(request: Request) -> list[bytes]:
    assert request.headers["Content-Type"] == "application/x-ndjson"
    assert request.headers["Content-Encoding"] == "gzip"
    return gzip.decompress(request.body).split(b"\n")


def sent(server: Server) -> list[list[str]]:
    """The ids in each request."""
    return [[json.loads(line)["id"] for line in lines_of(request)] for request in server.requests]


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Five events, one per line."""
    return write(tmp_path / "events.ndjson", "\n".join(json.dumps(event) for event in EVENTS))


# --- What a file may look like ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(json.dumps(event) for event in EVENTS),
        "\r\n\r\n".join(json.dumps(event) for event in EVENTS) + "\r\n",
        json.dumps(EVENTS),
        json.dumps(EVENTS, indent=4),
        json.dumps({"events": EVENTS}),
        json.dumps({"events": EVENTS}, indent=4).replace("\n", "\r\n"),
        "\ufeff" + json.dumps(EVENTS),
        "\ufeff" + "\n".join(json.dumps(event) for event in EVENTS),
    ],
)
def test_a_file_of_any_form_is_sent(text: str, run: Run, server: Server, tmp_path: Path) -> None:
    server.answers(accepted(5))

    done = run("events", "send", write(tmp_path / "file", text))

    assert (done.code, done.out, done.err) == (0, "5 events: 5 stored\n", "")
    assert (server.last.method, server.last.path) == ("POST", "/usage/events")
    assert [json.loads(line) for line in lines_of(server.last)] == EVENTS


def test_stdin_is_a_file_too(run: Run, server: Server) -> None:
    server.answers(accepted(1))
    assert run("events", "send", "-", stdin='{"id": "one"}').out == "1 event: 1 stored\n"
    assert sent(server) == [["one"]]


def test_one_event_may_stand_on_several_lines(run: Run, server: Server, tmp_path: Path) -> None:
    server.answers(accepted(1))
    run("events", "send", write(tmp_path / "file", '{\n  "id": "one",\n  "model": "m"\n}\n'))
    assert sent(server) == [["one"]]


def test_records_go_out_as_they_stand(run: Run, server: Server, tmp_path: Path) -> None:
    server.answers(accepted(2))
    first = '{"id":"é\\n", "cost_usd": 0.12345678901234567890,\n "n": 10000000000000000000001}'
    run("events", "send", write(tmp_path / "file", f'[{first},\n{{"id": "\\ud83d"}}]'))
    assert lines_of(server.last) == [first.replace("\n", " ").encode(), b'{"id": "\\ud83d"}']


def test_an_array_larger_than_the_readers_buffer_keeps_its_records(run: Run, server: Server, tmp_path: Path) -> None:
    events = [{"id": f"e{number}", "metadata": {"text": "x" * (number * 3_701 % 70_000)}} for number in range(60)]
    server.answers(accepted(60))

    run("events", "send", write(tmp_path / "file", json.dumps(events, indent=1)))

    assert [json.loads(line) for request in server.requests for line in lines_of(request)] == events
    assert all(len(gzip.decompress(request.body)) <= 1_000_000 for request in server.requests)
    assert len(server.requests) > 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "has no events"),
        (" \n\n", "has no events"),
        ("[]", "has no events"),
        ('{"events": []}', "has no events"),
        ("id,model\n1,m\n", "has no column with the time of the calls"),
        ("Good morning,\nthank you\n", "is in no known format"),
        (b"\x00\x01\x02", "is in no known format"),
        (b"\x1f\x8b\x08", "is not a valid gzip file"),
        (b"PAR1", "is not a valid Parquet file"),
        ('[{"id": "a"}, {"id": ]', "is not valid JSON at events[1]"),
        ('[{"id": "a"} {"id": "b"}]', "is not valid JSON at events[1]: a ',' is missing"),
        ('[{"id": "a"}, {"id": "b"}', "is not valid JSON at events[1]: the file ends before"),
        ('[{"id": "a"},', "is not valid JSON at events[1]"),
        ('[{"id": "a"}]]', "is not valid JSON at events[1]: unexpected data after the array"),
        ('{"events": [{"id": "a"}], "more": 1}', ": a '}' is missing"),
        ('{"events": [{"id": "a"}]}\n{"events": []}', ": unexpected data after the array"),
        (b'[{"id": "\xff"}]', "is not UTF-8 text"),
        ("[" * 100_000, "is not valid JSON at events[0]"),
    ],
)
def test_a_file_that_cannot_be_read_is_not_sent_in_part(
    text: str | bytes, fault: str, run: Run, server: Server, tmp_path: Path
) -> None:
    path = write(tmp_path / "file", text)
    done = run("events", "send", path)
    assert done.code == 1
    assert done.err.startswith(f"costtrack: {path} ")
    assert fault in done.err
    assert done.err.count("\n") == 1
    assert server.requests == []


def test_what_is_no_file_is_one_line(run: Run, server: Server, tmp_path: Path) -> None:
    done = run("events", "send", "missing")
    assert (done.code, done.err.startswith("costtrack: missing cannot be read: ")) == (1, True)
    done = run("events", "send", str(tmp_path))
    assert (done.code, done.err) == (1, f"costtrack: {tmp_path} has no transcripts of Claude Code or Codex\n")


# --- Ids -------------------------------------------------------------------------------------------------------


def test_records_without_an_id_get_one_that_stays(run: Run, server: Server, tmp_path: Path) -> None:
    server.answers(accepted(4))
    text = '{"model": "m"}\n{"model": "m"}\n{}\n{"id": null, "model": "m"}'
    run("events", "send", write(tmp_path / "one", text))
    run("events", "send", write(tmp_path / "copy", text), "--batch-size", "1", "--restart")
    run("events", "send", write(tmp_path / "other", text + "\n"))

    ids = sent(server)
    assert len(set(ids[0])) == 4
    assert ids[0] == [batch[0] for batch in ids[1:5]]
    assert not set(ids[0]) & set(ids[5])


# --- What the server does not store ----------------------------------------------------------------------------


def test_each_rejected_record_is_named_by_its_line(run: Run, server: Server, tmp_path: Path) -> None:
    path = write(tmp_path / "file", '{"id": "a"}\n\n{"id": "b", \n{"id": "c"}\n{"id": "d"}\n{"id": "e"}\n')
    refused = [
        {"index": 1, "id": "c", "field": "modle", "code": "unknown_field", "message": "Unknown field modle."},
        {"index": 2, "code": "invalid", "message": "text \x1b[31mred\nand more"},
    ]
    server.answers(accepted(1, rejected=2, duplicates=1, errors=refused), 207)

    done = run("events", "send", path)

    assert done.code == 1
    assert done.out == "5 events: 1 stored, 1 duplicate, 3 rejected\n"
    messages = done.err.splitlines()
    assert messages[0].startswith("costtrack: line 3: Not valid JSON: ")
    assert messages[1:] == [
        "costtrack: line 4, id c: Unknown field modle.",
        "costtrack: line 5: text �[31mred and more",
    ]


def test_in_an_array_it_is_the_index_of_the_whole_file(run: Run, server: Server, tmp_path: Path) -> None:
    conflict = {"index": 0, "id": "e2", "field": "id", "code": "conflict", "message": "Other content."}
    server.answers(accepted(2))
    server.answers(accepted(1, conflicts=1, errors=[conflict]), 207)
    server.answers(accepted(0, rejected=1, errors=[{"index": 0, "code": "bad", "message": "Bad."}]), 422)

    done = run("events", "send", write(tmp_path / "file", json.dumps(EVENTS)), "--batch-size", "2")

    assert done.code == 1
    assert done.err == "costtrack: events[2], id e2: Other content.\ncosttrack: events[4]: Bad.\n"
    assert done.out == "5 events: 3 stored, 1 conflicts with stored events, 1 rejected\n"


def test_json_output_has_the_same_totals(run: Run, server: Server, file: str) -> None:
    error = {"index": 4, "id": "e4", "field": "model", "code": "invalid", "message": "Bad."}
    server.answers(accepted(4, rejected=1, errors=[error]), 207)
    done = run("events", "send", file, "--json")
    assert json.loads(done.out) == {
        "events": 5,
        "accepted": 4,
        "duplicates": 0,
        "conflicts": 0,
        "rejected": 1,
        "errors": [{"place": "line 5", "id": "e4", "field": "model", "code": "invalid", "message": "Bad."}],
    }


@pytest.mark.parametrize("body", [{}, [], b"<html>", {"accepted": "5"}, {"errors": [5], "accepted": None}])
def test_a_response_without_totals_acknowledges_nothing(body: Any, run: Run, server: Server, file: str) -> None:
    server.answers(body)
    done = run("events", "send", file)
    assert done.code == 1
    assert "does not say what was stored" in done.err


# --- Going on --------------------------------------------------------------------------------------------------


def test_an_interrupted_sending_continues_after_the_last_acknowledged_batch(
    run: Run, server: Server, file: str, home: Path
) -> None:
    error = {"index": 1, "id": "e1", "code": "invalid", "message": "Bad."}
    server.answers(accepted(1, rejected=1, errors=[error]), 207)
    server.answers(accepted(2))
    server.answers({"error": "Something went wrong on our side.", "code": "internal_error"}, 500)
    first = run("events", "send", file, "--batch-size", "2")
    assert (first.code, first.out) == (1, "")
    assert first.err == (
        "costtrack: line 2, id e1: Bad.\n"
        "costtrack: 4 of 5 events are acknowledged; run the same command again to continue\n"
        "costtrack: API error (HTTP 500): Something went wrong on our side.\n"
    )

    server.replies.clear()
    server.answers(accepted(0, duplicates=1))
    second = run("events", "send", file, "--batch-size", "1000")

    assert sent(server) == [["e0", "e1"], ["e2", "e3"], ["e4"], ["e4"]]
    assert second.err == "costtrack: resuming after 4 of 5 events\n"
    assert (second.code, second.out) == (
        1,
        "5 events: 3 stored, 1 duplicate, 1 rejected\n",
    )  # also of the first part
    assert list((home / "state").rglob("*.json")) == []


def test_a_renamed_file_resumes_and_a_changed_one_starts_over(
    run: Run, server: Server, file: str, tmp_path: Path
) -> None:
    server.answers(accepted(2))
    server.answers({"detail": "no"}, 400)
    run("events", "send", file, "--batch-size", "2")
    server.replies.clear()
    server.answers(accepted(0, duplicates=1))

    changed = write(tmp_path / "changed", Path(file).read_bytes() + b"\n")
    renamed = str(Path(file).rename(tmp_path / "renamed"))
    server.requests.clear()
    assert "going on" not in run("events", "send", changed).err
    assert "resuming after 2 of 5" in run("events", "send", renamed).err

    assert sent(server) == [["e0", "e1", "e2", "e3", "e4"], ["e2", "e3", "e4"]]


def test_another_key_organization_or_server_starts_over(run: Run, server: Server, file: str) -> None:
    server.answers(accepted(2))
    server.answers({"detail": "no"}, 400)
    run("events", "send", file, "--batch-size", "2")
    server.replies.clear()
    server.answers(accepted(5))
    for other in (["--token", "another"], ["--organization", "acme"], ["--restart"]):
        server.requests.clear()
        assert run("events", "send", file, *other).code == 0
        assert len(sent(server)[0]) == 5


def test_the_state_is_private_and_contains_no_key(run: Run, server: Server, file: str, home: Path) -> None:
    server.answers(accepted(2))
    server.answers({"detail": "no"}, 400)
    run("events", "send", file, "--batch-size", "2")

    (state,) = (home / "state").rglob("*.json")
    assert state.stat().st_mode & 0o777 == 0o600
    assert json.loads(state.read_text()) == {"events": 2, "accepted": 2, "duplicates": 0, "conflicts": 0, "rejected": 0}


@pytest.mark.parametrize("broken", ["", "[]", '{"events": "x"}', "null", '{"events": 2}'])
def test_a_broken_state_is_as_good_as_none(broken: str, run: Run, server: Server, file: str, home: Path) -> None:
    server.answers(accepted(2))
    server.answers({"detail": "no"}, 400)
    run("events", "send", file, "--batch-size", "2")
    (state,) = (home / "state").rglob("*.json")
    state.write_text(broken)
    server.replies.clear()
    server.requests.clear()
    server.answers(accepted(5))

    assert run("events", "send", file).code == 0
    assert len(sent(server)[0]) == 5


def test_it_works_without_a_writable_state_folder(run: Run, server: Server, file: str, home: Path) -> None:
    home.write_text("a file where the home should be")
    server.answers(accepted(5))
    assert run("events", "send", file).code == 0


def test_what_is_written_to_the_file_meanwhile_is_left_for_the_next_time(
    run: Run, server: Server, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from costtrack.client import event_source

    class Growing(event_source.EventSource):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            with Path(file).open("a") as log:
                log.write('\n{"id": "late"}\n')

    monkeypatch.setattr(event_source, "EventSource", Growing)
    server.answers(accepted(5))
    assert run("events", "send", file).out == "5 events: 5 stored\n"
    assert sent(server) == [["e0", "e1", "e2", "e3", "e4"]]


# --- Other formats ---------------------------------------------------------------------------------------------

CSV = "When,Model,Prompt Tokens,Completion Tokens,Team Code\n2026-11-02 09:00:00,gpt-4o,12,3,red\n,gpt-4o,x,1,\n"


def test_a_table_is_sent_by_the_names_of_its_columns(run: Run, server: Server, tmp_path: Path) -> None:
    server.answers(accepted(1))
    file = write(tmp_path / "usage.csv.gz", gzip.compress(CSV.encode()))

    done = run("events", "send", file, "--map", "When=occurred_at", "--map", "Team Code=team", "--set", "user_id=jane")

    (event,) = [json.loads(line) for line in lines_of(server.last)]
    assert event.pop("id").startswith("file-")
    assert event == {
        "occurred_at": "2026-11-02T09:00:00Z",
        "model": "gpt-4o",
        "usage": {"prompt_tokens": 12, "completion_tokens": 3},
        "team": "red",
        "user_id": "jane",
    }
    assert done.out == "2 events: 1 stored, 1 rejected\n"
    assert done.err == "costtrack: line 3: 'x' is not a number.\n"
    assert done.code == 1


def test_another_mapping_is_not_a_resumed_file(run: Run, server: Server, tmp_path: Path) -> None:
    server.answers({"error": "no", "code": "no"}, 400)
    server.answers(accepted(1))
    file = write(tmp_path / "usage.csv", "time,model,input_tokens,n\n1,m,1,7\n2,m,2,8\n")
    assert run("events", "send", file, "--batch-size", "1").code == 1
    assert "resuming" not in run("events", "send", file, "--batch-size", "1", "--map", "n=output_tokens").err
    assert [json.loads(line)["output_tokens"] for line in lines_of(server.last)] == [8]


def test_a_preview_sends_nothing_and_shows_what_is_read(run: Run, server: Server, tmp_path: Path) -> None:
    file = write(tmp_path / "usage.csv", CSV.replace("When", "Time"))
    done = run("events", "send", file, "--preview")
    assert done.lines[:6] == [
        "CSV, 2 events",
        "Time: occurred_at",
        "Model: model",
        "Prompt Tokens: prompt_tokens",
        "Completion Tokens: completion_tokens",
        "Team Code: ignored",
    ]
    assert done.lines[7] == "line 3: 'x' is not a number."
    assert server.requests == []


def test_a_dry_run_reports_what_the_server_would_store(run: Run, server: Server, file: str, home: Path) -> None:
    server.answers(accepted(2, cost_usd="0.25", unpriced_models=["m"]))
    server.answers(accepted(1, duplicates=2, cost_usd="0.5", unpriced_models=[]))

    done = run("events", "send", file, "--dry-run", "--batch-size", "3", "--organization", "acme")

    assert [request.query for request in server.requests] == [{"dry_run": "true", "organization": "acme"}] * 2
    assert done.lines == [
        "dry run, nothing was stored: 5 events: 3 stored, 2 duplicates",
        "cost of what would be stored: 0.75 USD",
        "models without a price: m",
    ]
    assert not list(home.rglob("sends/*"))


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--map", "Cost"], "'Cost' is not NAME=VALUE"),
        (["--map", "Cots=cost_usd"], "has no column 'Cots'"),
        (["--map", "model=modle"], "cannot have a column for 'modle'"),
        (["--set", "usr=jane"], "'usr' is not a field of an event"),
        (["--preview", "--dry-run"], "not allowed with"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(
    arguments: list[str], fault: str, run: Run, server: Server, tmp_path: Path
) -> None:
    done = run("events", "send", write(tmp_path / "usage.csv", "time,model,cost\n1,m,2\n"), *arguments)
    assert done.code in (1, 2)
    assert fault in done.err
    assert server.requests == []


# --- Trying again ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_requests_to_a_busy_server_are_retried(status: int, run: Run, server: Server, file: str) -> None:
    server.answers({"error": "busy", "code": "busy"}, status, Retry_After="0")
    server.answers({"error": "busy", "code": "busy"}, status, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT")
    server.answers(accepted(5))

    done = run("events", "send", file)

    assert (done.code, done.out) == (0, "5 events: 5 stored\n")
    assert done.err.splitlines() == [
        f"costtrack: the server is busy (HTTP {status}); next attempt in 0 s ({attempt} of 6)" for attempt in (1, 2)
    ]
    assert sent(server) == [["e0", "e1", "e2", "e3", "e4"]] * 3


@pytest.mark.parametrize(
    ("body", "status", "code", "messages"),
    [
        ({"error": "slow", "code": "too_many"}, 429, 1, "API error (HTTP 429): slow"),
        (HANG_UP, 200, 3, "closed the connection before the response was complete"),
    ],
)
def test_patience_has_an_end(
    body: Any, status: int, code: int, messages: str, run: Run, server: Server, file: str
) -> None:
    server.answers(body, status, Retry_After="0")
    done = run("events", "send", file, "--retries", "0")
    assert done.code == code
    assert messages in done.err
    assert len(server.requests) == 1


def test_a_wrong_key_is_not_tried_again(run: Run, server: Server, file: str) -> None:
    server.answers({"error": "unknown key", "code": "unauthorized"}, 401)
    assert run("events", "send", file).code == 1
    assert len(server.requests) == 1


def attempts_of(
    *outcomes: Answer | Exception, retries: int = 3
) -> tuple[list[float], list[str], Answer | CannotConnectError]:
    """The pauses and the lines of a request that goes like this, and how it ended."""
    pauses: list[float] = []
    messages: list[str] = []
    left = list(outcomes)

    def attempt() -> Answer:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    try:
        end: Answer | CannotConnectError = Retrying(retries, pauses.append, messages.append).call(attempt)
    except CannotConnectError as error:
        end = error
    assert left == []
    return pauses, messages, end


def busy(**headers: str) -> Answer:
    return Answer(503, "", [(name.replace("_", "-"), value) for name, value in headers.items()], b"")


def test_an_interruption_just_before_a_pause_is_noticed_long_before_the_pause_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        """As Python does with a signal that came a moment before: it sleeps all the time, then raises."""
        slept.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        pause(600)
    assert len(slept) == 1
    assert slept[0] <= 0.5


def test_a_pause_takes_the_time_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("time.monotonic", lambda: sum(slept))
    pause(7.1)
    assert sum(slept) == pytest.approx(7.1)


GOOD = Answer(200, "", [], b"{}")
AWAY = CannotConnectError("away")


@pytest.mark.parametrize(
    ("outcomes", "pauses"),
    [
        ([GOOD], []),
        ([AWAY, AWAY, busy(), GOOD], [1, 2, 4]),
        ([busy(Retry_After="120"), busy(Retry_After="soon"), busy(Retry_After="-1"), GOOD], [120, 2, 4]),
        ([busy(Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), GOOD], [0]),
    ],
)
def test_pauses_double_unless_the_server_says_how_long(
    outcomes: Sequence[Answer | Exception], pauses: list[float]
) -> None:
    assert attempts_of(*outcomes)[0] == pauses
    assert attempts_of(*outcomes)[2] is GOOD


def test_pauses_end_at_a_minute_and_attempts_at_the_last_retry() -> None:
    pauses, messages, end = attempts_of(*[AWAY] * 10, retries=9)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert messages[-1] == "away; next attempt in 60 s (9 of 9)"
    assert end is AWAY


def test_what_no_attempt_can_change_is_not_tried_again() -> None:
    final = CannotConnectError("no valid certificate", is_final=True)
    assert attempts_of(final) == ([], [], final)


# --- Progress --------------------------------------------------------------------------------------------------


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0.0, 1.0, 5.0, 5.0, 6.0, 11.0, 11.0])
    lines = Lines(10_000, clock=lambda: next(seconds))
    for _ in range(4):
        lines.advance(1_000)
    assert capsys.readouterr().err == "costtrack: 2,000 of 10,000 events\ncosttrack: 4,000 of 10,000 events\n"


@pytest.mark.parametrize(
    "arguments", [[], ["x", "--batch-size", "0"], ["x", "--batch-size", "10001"], ["x", "--retries", "-1"], [""]]
)
def test_wrong_arguments(arguments: list[str], run: Run, server: Server) -> None:
    assert run("events", "send", *arguments).code == 2
