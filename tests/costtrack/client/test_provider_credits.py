"""`costtrack credits list|add|void`."""

from tests.costtrack.client.conftest import Run, Server

CREDIT = {"id": 3, "amount_usd": "120.5", "reason": "Outage", "dimensions": {"model": "gpt-4o"}, "voided_at": None}


def test_credits_are_listed(run: Run, server: Server) -> None:
    server.answers({"results": [CREDIT]})
    done = run("credits", "list")
    assert (server.last.method, server.last.path) == ("GET", "/usage/credits")
    assert done.lines == ["id amount reason dimensions voided at", "3 $120.50 Outage model gpt-4o"]


def test_a_credit_is_added_with_what_it_is_about(run: Run, server: Server) -> None:
    server.answers(CREDIT, 201)
    arguments = [
        "--amount",
        "120.50",
        "--reason",
        "Outage",
        "--end-date",
        "2026-11-30",
        "--user-id",
        "ada",
        "--tag",
        "a",
    ]
    assert run("credits", "add", *arguments, "--tag", "b").code == 0
    assert (server.last.method, server.last.path) == ("POST", "/usage/credits")
    assert server.last.json() == {
        "amount_usd": "120.50",
        "reason": "Outage",
        "end_date": "2026-11-30",
        "user_id": "ada",
        "tags": ["a", "b"],
    }
    assert run("credits", "add", "--amount", "1").code == 2


def test_a_credit_is_taken_back(run: Run, server: Server) -> None:
    server.answers({**CREDIT, "void_reason": "Booked twice."})
    assert "void reason Booked twice." in run("credits", "void", "3", "--reason", "Booked twice.").lines
    assert (server.last.path, server.last.json()) == ("/usage/credits/3/void", {"reason": "Booked twice."})
