"""Where a command asks and with which key, what it prints, and how errors look: the same for all commands."""

from typing import Any

import pytest

from costtrack.client.instance import checked_url
from tests.costtrack.client.conftest import HANG_UP, TOKEN, Run, Server

SUMMARY = ("costs", "summary")
ABOUT = "Only events with a session. All usage: costtrack usage summary"
UNREACHABLE = "http://127.0.0.1:9"  # nothing listens on the port `discard`


# --- Address and key -------------------------------------------------------------------------------------------


def test_flags_win_over_costtracks_variables_and_these_over_glows(
    bare_run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers({})
    monkeypatch.setenv("GLOW_INSTANCE_URL", server.url)
    monkeypatch.setenv("GLOW_TOKEN", "glow")
    bare_run(*SUMMARY)
    monkeypatch.setenv("COSTTRACK_TOKEN", "ours")
    bare_run(*SUMMARY)
    monkeypatch.setenv("COSTTRACK_URL", UNREACHABLE)
    assert bare_run(*SUMMARY).code == 3
    bare_run(*SUMMARY, "--url", f"{server.url}/", "--token", "flag")

    keys = [request.headers["Authorization"] for request in server.requests]
    assert keys == ["Bearer glow", "Bearer ours", "Bearer flag"]


def test_without_an_address_or_a_key_it_says_what_to_do(bare_run: Run) -> None:
    done = bare_run(*SUMMARY)
    assert (done.code, done.err) == (
        2,
        "costtrack: no server: set COSTTRACK_URL, use --url, or run `costtrack login`\n",
    )
    done = bare_run(*SUMMARY, "--url", "https://spend.example")
    assert (done.code, done.err) == (
        2,
        "costtrack: no API key for https://spend.example: set COSTTRACK_TOKEN, or run `costtrack login`\n",
    )


@pytest.mark.parametrize(
    "url",
    [
        "spend.example",
        "ftp://spend.example",
        "https://",
        "https://spend.example:port",
        "https://spend.example:0",
        "https://[::1",
        "https://user:key@spend.example",
        "https://spend.example/?x=1",
        "https://spend.example/#x",
        "https://spend example",
        "https://spénd.example",
        "https://spend.example/\r\nHost: x",
    ],
)
def test_what_is_no_address_is_a_wrong_argument(url: str, bare_run: Run) -> None:
    done = bare_run(*SUMMARY, "--url", url, "--token", TOKEN)
    assert done.code == 2
    assert done.err.count("\n") == 1


def test_equal_addresses_are_one() -> None:
    assert checked_url(" https://Spend.Example/Base/ ") == "https://spend.example/Base"


@pytest.mark.parametrize("token", ["two words", "new\nline", "kéy", "\x00"])
def test_what_can_be_no_key_is_not_sent(token: str, run: Run, server: Server) -> None:
    assert run(*SUMMARY, "--token", token).err == "costtrack: the API key contains invalid characters\n"
    assert server.requests == []


def test_an_address_may_have_a_path(run: Run, server: Server) -> None:
    server.answers({})
    run(*SUMMARY, "--url", f"{server.url}/spend/")
    assert server.last.path == "/spend/costs/summary"


@pytest.mark.parametrize(
    ("url", "is_warned"),
    [
        ("http://127.0.0.1:9", False),
        ("http://localhost:9", False),
        ("http://[::1]:9", False),
        ("http://0.0.0.0:9", True),
    ],
)
def test_plain_http_to_another_machine_gets_a_warning(url: str, is_warned: bool, run: Run) -> None:  # noqa: FBT001
    done = run(*SUMMARY, "--url", url)
    assert done.code == 3
    assert (
        done.err.splitlines()[0] == f"costtrack: warning: {url} is not encrypted: the API key can be intercepted"
    ) is is_warned


def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers({})
    monkeypatch.setenv("http_proxy", server.url.replace("http://", "http://me:secret@"))

    assert run(*SUMMARY, "--url", "http://spend.example").code == 0
    assert server.last.path == "/costs/summary"
    assert server.last.headers["Host"] == "spend.example"
    assert server.last.headers["Proxy-Authorization"] == "Basic bWU6c2VjcmV0"

    assert run(*SUMMARY).code == 0
    assert "Proxy-Authorization" not in server.last.headers

    assert run(*SUMMARY, "--url", "https://spend.example").code == 3  # it is asked for a tunnel, and cannot
    monkeypatch.setenv("no_proxy", "0.0.0.0")  # noqa: S104 - an address to connect to
    assert run(*SUMMARY, "--url", "http://0.0.0.0:9").code == 3


# --- What is printed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b'{ "b": 1,\n "a":1.10e-7}', b"[]\n", '["é\\u001b"]'.encode()])
def test_json_is_the_answer_byte_for_byte(body: bytes, run: Run, server: Server) -> None:
    server.answers(body)
    assert run(*SUMMARY, "--json").out == body.decode().rstrip("\n") + "\n"


def test_headers_are_shown_beside_the_answer(run: Run, server: Server) -> None:
    server.answers({"total_sessions": 1}, X_Cache_Hit="1")
    done = run(*SUMMARY, "--show-headers", "--json")
    assert done.out == '{"total_sessions": 1}\n'
    assert done.err.startswith("HTTP 200 OK\n")
    assert "\nX-Cache-Hit: 1\n" in done.err


def test_headers_are_shown_of_errors_too(run: Run, server: Server) -> None:
    server.answers({"detail": "no"}, 503, Retry_After="5")
    assert "\nRetry-After: 5\n" in run(*SUMMARY, "--show-headers").err


def test_what_the_server_says_cannot_color_or_move_the_screen(run: Run, server: Server) -> None:
    server.answers({"name\x1b[2J": "\x1b]0;title\x07 \u202eevil [bold]x[/bold]\nnext", "list": ["\x9b1m"]})
    assert run(*SUMMARY).out == (
        "name�[2J  �]0;title� �evil [bold]x[/bold] next\n"
        "list      �1m\n"
        f"\n{ABOUT}\n"
    )  # fmt: skip


def test_long_values_are_whole_where_no_terminal_ends_the_line(run: Run, server: Server) -> None:
    server.answers([{"session_id": "s" * 5_000, "execution_id": "e" * 5_000}])
    assert f"{'s' * 5_000}  {'e' * 5_000}\n" in run("costs", "sessions").out


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (b"12345678901234567890.123456789012345678901234", "$12,345,678,901,234,567,890.123456789012345678901234"),
        (b"-0.5", "-$0.50"),
        (b"0", "$0.00"),
        (b"0.10", "$0.10"),
        (b"1e-7", "$0.0000001"),
        (b"1e999999", "1E+999999"),
        (b"1e-999999", "1E-999999"),
        (b"NaN", "nan"),
        (b"null", ""),
        (b'"1E-7"', "$0.0000001"),
        (b'"much"', "much"),
        (b"true", "yes"),
    ],
)
def test_amounts_keep_every_digit(number: bytes, shown: str, run: Run, server: Server) -> None:
    server.answers(b'{"total_cost_usd": ' + number + b"}")
    assert run(*SUMMARY).out.removesuffix(f"\n{ABOUT}\n").split("total cost")[1].strip() == shown


# --- Errors ----------------------------------------------------------------------------------------------------


WRONG_LIMIT = {"loc": ["query", "limit"], "msg": "Too large.", "type": "less_than_equal"}
WRONG_ID = {"loc": ["body", "events", 3, "id"], "msg": "No."}
UNKNOWN_MODEL = {"message": "Unknown model", "type": "bad_request", "param": "model", "code": "400"}


@pytest.mark.parametrize(
    ("status", "body", "line"),
    [
        (
            401,
            {"detail": "Who?"},
            "Authentication failed (HTTP 401): Who? Run `costtrack login`, or check COSTTRACK_TOKEN.",
        ),
        (403, {"error": "missing scope.", "code": "missing_scope"}, "Permission denied (HTTP 403): missing scope."),
        (404, {"detail": "Run x not found"}, "Resource not found (HTTP 404): Run x not found"),
        (422, {"detail": [WRONG_LIMIT, WRONG_ID]}, "API error (HTTP 422): limit: Too large.; events.3.id: No."),
        (422, {"detail": [{"loc": ["body"], "msg": "Bad."}, "odd", 5, {}]}, "API error (HTTP 422): Bad.; odd; 5; "),
        (400, {"error": UNKNOWN_MODEL}, "API error (HTTP 400): Unknown model"),
        (400, {"error": {}}, "API error (HTTP 400): {}"),
        (500, {"error": "On our side.", "code": "internal_error"}, "API error (HTTP 500): On our side."),
        (502, b"<html>Bad Gateway</html>", "API error (HTTP 502)"),
        (500, [], "API error (HTTP 500)"),
        (500, {"other": 1}, "API error (HTTP 500)"),
        (500, {"detail": "two\nlines \x1b[31m"}, "API error (HTTP 500): two lines �[31m"),
        (500, {"detail": "x" * 10_000}, f"API error (HTTP 500): {'x' * 600}..."),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_each_familys_errors_are_one_line(
    status: int, body: Any, line: str, flags: list[str], run: Run, server: Server
) -> None:
    server.answers(body, status)
    done = run(*SUMMARY, *flags)
    assert (done.code, done.out, done.err) == (1, "", f"costtrack: {line}\n")


@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"[" * 100_000, b"\xff", b"9" * 5_000])
def test_an_answer_that_is_no_json_is_an_error(body: bytes, flags: list[str], run: Run, server: Server) -> None:
    server.answers(body)
    done = run(*SUMMARY, *flags)
    assert done.code == 1
    assert done.err == "costtrack: the response is not JSON: is this the URL of a costtrack server?\n"


def test_redirects_are_not_followed(run: Run, server: Server) -> None:
    server.answers(b"", 301, Location="https://elsewhere.example/")
    done = run(*SUMMARY)
    assert done.code == 1
    assert done.err == (
        f"costtrack: {server.url} redirects to https://elsewhere.example/ (HTTP 301): use the right --url\n"
    )
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_exit_code_3(run: Run) -> None:
    done = run(*SUMMARY, "--url", UNREACHABLE)
    assert (done.code, done.err) == (3, f"costtrack: cannot connect to {UNREACHABLE}: Connection refused\n")
    assert run(*SUMMARY, "--url", "https://nowhere.invalid").code == 3


def test_a_server_that_hangs_up_is_exit_code_3(run: Run, server: Server) -> None:
    server.answers(HANG_UP)
    done = run(*SUMMARY)
    assert done.code == 3
    assert done.err == f"costtrack: {server.url} closed the connection before the response was complete\n"


def test_https_to_a_server_that_speaks_plain_http_is_exit_code_3(run: Run, server: Server) -> None:
    server.answers({})
    done = run(*SUMMARY, "--url", server.url.replace("http:", "https:"))
    assert done.code == 3
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "nan", "1e9"])
def test_a_timeout_is_a_number_of_seconds(timeout: str, run: Run) -> None:
    assert run(*SUMMARY, "--timeout", timeout).code == 2
