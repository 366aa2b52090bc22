"""`costtrack limits list|show|set|state`."""

from typing import Any

import pytest

from tests.costtrack.client.conftest import Run, Server

OWN = {"results": [{"slug": "acme"}]}
LIMIT = {
    "id": 12,
    "scope": "user",
    "scope_value": "ada",
    "window": "calendar_month",
    "amount_usd": "20",
    "overrides": [],
}
STATES = {
    "limits": [
        {"id": 12, "scope": "user", "scope_value": "ada", "state": "ok", "spent_usd": "1.5", "amount_usd": "20"},
        {
            "id": 13,
            "scope": "model",
            "scope_value": "",
            "values": [{"id": 13, "scope_value": "gpt-4o", "state": "paused"}],
        },
    ]
}


@pytest.mark.parametrize(
    ("arguments", "request_line", "query", "body"),
    [
        (["list"], "GET /organizations/acme/limits", {"page_size": "100"}, None),
        (
            ["list", "--scope", "user", "--scope-value", "ada", "--window", "lifetime", "--in-force"],
            "GET /organizations/acme/limits",
            {"scope": "user", "scope_value": "ada", "window": "lifetime", "in_force": "true", "page_size": "100"},
            None,
        ),
        (["show", "12"], "GET /organizations/acme/limits/12", {}, None),
        (
            ["set", "--scope", "user", "--window", "rolling_7d", "--amount", "20", "--unit", "tokens"],
            "POST /organizations/acme/limits",
            {},
            {"scope": "user", "window": "rolling_7d", "amount_usd": "20", "unit": "tokens"},
        ),
        (["set", "12", "--amount", "0"], "PATCH /organizations/acme/limits/12", {}, {"amount_usd": "0"}),
        (
            ["set", "12", "--body", '{"thresholds": [50]}'],
            "PATCH /organizations/acme/limits/12",
            {},
            {"thresholds": [50]},
        ),
    ],
)
def test_commands_send_the_documented_requests(
    arguments: list[str], request_line: str, query: dict[str, str], body: Any, run: Run, server: Server
) -> None:
    server.answers(OWN)
    server.answers(LIMIT)
    assert run("limits", *arguments).code == 0
    assert server.requests[0].path == "/organizations"
    assert (f"{server.last.method} {server.last.path}", server.last.query) == (request_line, query)
    assert (server.last.json() if server.last.body else None) == body


def test_the_organization_can_be_given(run: Run, server: Server) -> None:
    server.answers({"results": [LIMIT]})
    done = run("limits", "list", "--organization", "globex")
    assert [(request.path, request.query) for request in server.requests] == [
        ("/organizations/globex/limits", {"page_size": "100"})
    ]
    assert done.lines == ["id scope scope value window amount", "12 user ada calendar_month $20.00"]


def test_a_key_of_several_organizations_has_to_choose(run: Run, server: Server) -> None:
    server.answers({"results": [{"slug": "acme"}, {"slug": "globex"}]})
    done = run("limits", "show", "12")
    assert (done.code, done.err) == (2, "costtrack: choose the organization with --organization SLUG\n")


@pytest.mark.parametrize("arguments", [[], ["12"], ["--amount", "1", "--body", "{}"], ["--body", "[]"]])
def test_there_is_something_to_set(arguments: list[str], run: Run, server: Server) -> None:
    server.answers(OWN)
    assert run("limits", "set", *arguments).code == 2
    assert server.requests == []


def test_the_state_shows_limits_and_values(run: Run, server: Server) -> None:
    server.answers(STATES)
    done = run("limits", "state", "--scope", "user")
    assert (server.last.path, server.last.query) == ("/usage/limits", {"scope": "user"})
    assert done.lines == [
        "id scope scope value state spent amount",
        "12 user ada ok $1.50 $20.00",
        "13 model",
        "values",
        "id scope value state",
        "13 gpt-4o paused",
    ]
    server.replies.clear()
    server.answers({"limits": []})
    assert run("limits", "state").lines == ["no limits"]
