"""`costtrack bills import|report|imports|keys|assign-key|remove-key`."""

from pathlib import Path

from tests.costtrack.client.conftest import Run, Server


def test_a_file_is_imported_with_its_columns(run: Run, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "bill.csv"
    file.write_text("Day,Cost\n2026-11-14,1\n")
    server.answers({"imported": {"id": 1}, "is_duplicate": False, "days": 1}, 201)
    columns = ("--map", "Day=date", "--map", "Cost=amount_usd")
    assert run("bills", "import", str(file), "--provider", "mistral", *columns).code == 0
    assert server.last.json() == {
        "content": "Day,Cost\n2026-11-14,1\n",
        "file_name": "bill.csv",
        "provider": "mistral",
        "columns": {"Day": "date", "Cost": "amount_usd"},
    }
    assert run("bills", "import", str(file), "--map", "Day").code == 2
    assert run("bills", "import", str(tmp_path / "none.csv")).code == 2


def test_the_report_has_the_totals_days_and_causes(run: Run, server: Server) -> None:
    parts = [{"cause": "missing_calls", "amount_usd": "2"}]
    row = {"provider": "openai", "day": "2026-11-14", "model": "gpt-4o", "difference_usd": "2", "parts": parts}
    day = {"provider": "openai", "day": "2026-11-14", "is_closed": False, "bill_usd": "3"}
    server.answers({"bill_usd": "3", "parts": parts, "days": [day], "results": [row], "next_cursor": "50"})
    lines = run("bills", "report", "--provider", "openai").lines
    assert server.last.query == {"provider": "openai"}
    assert any("missing_calls 2" in line for line in lines)
    assert lines[-1] == "More rows: --cursor 50"


def test_a_key_is_assigned(run: Run, server: Server) -> None:
    server.answers({"id": 1, "provider": "openai", "key": "k", "client_id": None})
    assert run("bills", "assign-key", "k", "--provider", "openai", "--foreign").code == 0
    assert server.last.json() == {"provider": "openai", "key": "k", "client_id": None}


def test_the_assignment_of_a_key_is_deleted(run: Run, server: Server) -> None:
    server.answers(b"", 204)
    assert run("bills", "remove-key", "7").code == 0
    assert (server.last.method, server.last.path) == ("DELETE", "/usage/provider-bills/keys/7")


def test_an_account_is_connected_with_a_key_from_stdin(run: Run, server: Server) -> None:
    server.answers({"id": 7, "provider": "openai", "state": "queued"}, 201)
    server.answers({"results": [{"id": 7, "provider": "openai", "state": "failed", "error": "refused"}]})
    server.answers({"id": 7, "state": "queued"}, 202)
    server.answers(b"", 204)
    assert run("bills", "connect", "openai", stdin="sk-admin-1\n").code == 0
    assert server.last.json() == {"provider": "openai", "account": "", "key": "sk-admin-1"}
    assert "refused" in run("bills", "connections").out
    assert run("bills", "fetch", "7").code == 0
    assert (server.last.method, server.last.path) == ("POST", "/usage/provider-bills/connections/7/fetch")
    assert run("bills", "disconnect", "7").code == 0
    assert (server.last.method, server.last.path) == ("DELETE", "/usage/provider-bills/connections/7")
