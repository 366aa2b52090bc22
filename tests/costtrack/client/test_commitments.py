"""`costtrack commitments list|add|end|report`."""

from tests.costtrack.client.conftest import Run, Server

SEATS = {"id": 3, "name": "Seats", "amount_usd": "30", "covers": {"model": ["claude"]}}


def test_commitments_are_listed_and_ended(run: Run, server: Server) -> None:
    server.answers({"results": [SEATS]})
    server.answers(SEATS)
    assert run("commitments", "list").lines[1].startswith("3 Seats")
    assert run("commitments", "end", "3", "--ends", "2026-12-31").code == 0
    assert (server.last.path, server.last.json()) == ("/usage/commitments/3/end", {"ends": "2026-12-31"})


def test_a_commitment_is_added_with_what_it_covers(run: Run, server: Server) -> None:
    server.answers(SEATS, 201)
    arguments = ("--name", "Seats", "--kind", "subscription", "--amount", "30", "--starts", "2026-11-01")
    assert run("commitments", "add", *arguments, "--model", "claude", "--model", "gpt-4o").code == 0
    assert server.last.json() == {
        "name": "Seats",
        "kind": "subscription",
        "starts": "2026-11-01",
        "amount_usd": "30",
        "covers": {"model": ["claude", "gpt-4o"]},
    }


def test_the_report_has_the_totals_and_each_commitment(run: Run, server: Server) -> None:
    use = {"commitment": SEATS, "accrued_usd": "15", "idle_usd": "5"}
    server.answers({"month": "2026-11", "spend_usd": "20", "commitments": [use]})
    lines = run("commitments", "report", "--month", "2026-11").lines
    assert server.last.query == {"month": "2026-11"}
    assert "spend $20.00" in lines
    assert lines[-1] == "Seats $15.00 $5.00"
