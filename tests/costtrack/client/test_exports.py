"""`costtrack exports list|create|show|download|cancel|delete`."""

from pathlib import Path

import pytest

from tests.costtrack.client.conftest import Run, Server

EXPORT = {"id": 3, "state": "running", "title": "Requests", "rows": 2000, "total_rows": 83000, "error": ""}


def test_a_file_is_created_and_followed(run: Run, server: Server) -> None:
    server.answers(EXPORT, 202)
    arguments = ("--format", "parquet", "--parameter", "model=gpt-4o", "--parameter", "range=7d")
    assert run("exports", "create", "requests", *arguments, "--organization", "acme").code == 0
    assert (server.last.method, server.last.path) == ("POST", "/organizations/acme/exports")
    assert server.last.json() == {
        "table": "requests",
        "format": "parquet",
        "parameters": {"model": "gpt-4o", "range": "7d"},
    }
    assert run("exports", "create", "requests", "--parameter", "model", "--organization", "acme").code == 2


def test_files_are_listed_and_canceled(run: Run, server: Server) -> None:
    server.answers({"results": [EXPORT]})
    assert "3 running Requests 2,000 83,000" in " ".join(run("exports", "list", "--organization", "acme").lines)
    server.answers(EXPORT)
    assert run("exports", "cancel", "3", "--organization", "acme").code == 0
    assert server.last.path == "/organizations/acme/exports/3/cancel"


def test_a_file_is_written_once(run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server.answers(["not the real content"])
    assert run("exports", "download", "3", "--organization", "acme").code == 0
    assert (tmp_path / "export-3").read_bytes() == b'["not the real content"]'
    assert "already exists" in run("exports", "download", "3", "--organization", "acme").err
    assert run("exports", "download", "3", "--force", "--organization", "acme").code == 0
