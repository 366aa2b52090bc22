"""`costtrack outcomes list|add|costs`."""

from tests.costtrack.client.conftest import Run, Server

WORK = {"count": 1, "cost_usd": "2"}


def test_outcomes_are_listed_to_the_next_page(run: Run, server: Server) -> None:
    server.answers({"results": [{"run_id": "r", "name": "resolved", "success": True}], "next_cursor": "9"})
    done = run("outcomes", "list", "--success", "true", "--name", "resolved")
    assert (server.last.path, server.last.query) == ("/usage/outcomes", {"name": "resolved", "success": "true"})
    assert done.lines[1].startswith("r resolved")
    assert "More rows: --cursor 9" in done.lines


def test_an_outcome_is_reported(run: Run, server: Server) -> None:
    server.answers({"accepted": 1})
    arguments = ("--run-id", "r", "--name", "resolved", "--failed", "--attempt", "2", "--value", "4.5")
    assert run("outcomes", "add", *arguments).code == 0
    assert (server.last.method, server.last.path) == ("POST", "/usage/outcomes")
    sent = {"name": "resolved", "run_id": "r", "attempt": 2, "value_usd": "4.5", "success": False}
    assert server.last.json() == sent


def test_costs_are_shown_by_group_with_their_total(run: Run, server: Server) -> None:
    row = {"success_rate": 0.5, "cost_per_success_usd": "3", "cost_usd": "5", "failed": WORK}
    server.answers({"results": [{"team": "core", **row}, {"team": "", **row}], "total": row})
    lines = run("outcomes", "costs", "--group-by", "team").lines
    assert (server.last.path, server.last.query) == ("/usage/outcomes/costs", {"group_by": "team"})
    assert [line.split()[0] for line in lines[1:3]] == ["core", "(none)"]
    assert any(line.startswith("total") for line in lines)
