"""`costtrack allocation show|months|rules|split|end`."""

from tests.costtrack.client.conftest import Run, Server

ROW = {"direct_usd": "1", "taken_usd": "0", "given_usd": "2", "total_usd": "3"}
ALLOCATION = {
    "month": "2026-10",
    "cost_usd": "3",
    "direct_share": 0.5,
    "targets": [{"target": "core", **ROW}],
    "unallocated": {"target": "", **ROW},
}


def test_a_month_is_shown_with_what_has_no_target_last(run: Run, server: Server) -> None:
    server.answers(ALLOCATION)
    lines = run("allocation", "show", "--month", "2026-10", "--by", "tag", "--tag-prefix", "project:").lines
    assert (server.last.path, server.last.query) == (
        "/usage/allocation",
        {"by": "tag", "tag_prefix": "project:", "month": "2026-10"},
    )
    assert [line.split()[0] for line in lines[-2:]] == ["core", "(none)"]


def test_a_rule_is_previewed_and_stored(run: Run, server: Server) -> None:
    server.answers(ALLOCATION)
    arguments = ["--name", "Key", "--starts", "2026-10", "--method", "fixed", "--all-usage", "--client-id", "ct_1"]
    arguments += ["--target", "core=25", "--target", "a=b=75"]
    assert run("allocation", "split", *arguments, "--preview").code == 0
    assert (server.last.method, server.last.path) == ("POST", "/usage/allocation/preview")
    server.answers({"id": 1}, 201)
    assert run("allocation", "split", *arguments).code == 0
    assert server.last.path == "/usage/allocation/rules"
    assert server.last.json() == {
        "name": "Key",
        "starts": "2026-10",
        "method": "fixed",
        "source": {"client_id": ["ct_1"]},
        "targets": [{"name": "core", "percent": "25"}, {"name": "a=b", "percent": "75"}],
        "without_target_only": False,
    }


def test_versions_and_months_are_listed_and_a_rule_is_ended(run: Run, server: Server) -> None:
    server.answers({"results": [{"id": 3, "name": "Key", "targets": [{"name": "core", "percent": "25"}]}]})
    server.answers({"months": [{"month": "2026-10", "cost_usd": "3"}]})
    server.answers({"id": 4, "ended": True}, 201)
    assert "core 25%" in run("allocation", "rules").lines[1]
    assert run("allocation", "months", "--months", "2").lines[1].startswith("2026-10")
    assert server.last.query == {"months": "2"}
    assert run("allocation", "end", "3", "--starts", "2026-12").code == 0
    assert (server.last.path, server.last.json()) == ("/usage/allocation/rules/3/end", {"starts": "2026-12"})
