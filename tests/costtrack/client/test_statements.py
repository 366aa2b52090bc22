"""`costtrack statements list|show|file|corrections|close`."""

import json
from pathlib import Path

import pytest

from tests.costtrack.client.conftest import Run, Server

FIGURES = {"requests": 2, "cost_usd": "1.5", "unpriced_events": 0}
LINE = {"section": "usage", "corrected_month": None, "key": "", "model": "gpt-4o", **FIGURES}
STATEMENT = {
    "month": {"month": "2026-10", "state": "open"},
    "lines": [LINE],
    "totals": {"total": FIGURES, "corrections": [{"month": "2026-09", **FIGURES}]},
    "limits_history": [],
    "next_cursor": "abc",
}


def test_a_statement_is_shown_with_its_lines_and_totals(run: Run, server: Server) -> None:
    server.answers(STATEMENT)
    done = run("statements", "show", "2026-10", "--by", "team", "--tag", "a")
    assert (server.last.method, server.last.path) == ("GET", "/usage/statements/2026-10")
    assert server.last.query == {"by": "team", "tag": "a"}
    assert ["usage", "(none)", "gpt-4o", "2", "$1.50", "0"] in [line.split() for line in done.lines]
    assert "More rows: --cursor abc" in done.out


def test_months_are_listed_and_closed(run: Run, server: Server) -> None:
    server.answers({"results": [{"month": "2026-10", "state": "open"}]})
    assert run("statements", "list").lines[1:] == ["2026-10 open"]
    server.answers({"results": [], "next_cursor": None})
    assert run("statements", "corrections", "2026-10").code == 0
    assert server.last.path == "/usage/statements/2026-10/corrections"
    server.answers({"month": "2026-10", "state": "closed"})
    assert run("statements", "close", "2026-10").code == 0
    assert (server.last.method, server.last.path) == ("POST", "/usage/statements/2026-10/close")


def test_a_file_is_written_once(run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server.answers([{"model": "gpt-4o"}])
    path = tmp_path / "october.csv"

    assert run("statements", "file", "2026-10", "--format", "csv", "--output", str(path)).code == 0

    assert (server.last.path, server.last.query) == ("/usage/statements/2026-10/file", {"format": "csv"})
    assert json.loads(path.read_bytes()) == [{"model": "gpt-4o"}]
    assert run("statements", "file", "2026-10", "--output", str(path)).code != 0
    assert run("statements", "file", "2026-10", "--format", "pdf", "--output", "-").code == 0
    assert server.last.query == {"format": "pdf"}
    assert run("statements", "focus", "2026-10", "--version", "1.4", "--output", "-").code == 0
    assert (server.last.path, server.last.query) == ("/usage/statements/2026-10/focus", {"version": "1.4"})
    assert run("statements", "file", "2026-10", "--force", "--output", str(path)).code == 0
