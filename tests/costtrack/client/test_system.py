"""`costtrack system pricing|groups|export|refresh`."""

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.costtrack.client.conftest import TOKEN, Run, Server

MODEL = "5f0c0f0e-0000-4000-8000-000000000001"
PRICING = {
    "daily": [
        {"date_key": "2025-01-15", "model_id": MODEL, "total_cost": "12.5", "run_count": 1200},
        {"date_key": "2025-01-16", "model_id": None, "total_cost": "0.000000123", "run_count": 1},
    ],
    "resources": {"agents": {}, "models": {MODEL: {"name": "gpt-4o"}}},
    "model_options": [{"value": MODEL, "label": "gpt-4o", "count": 1200}],
    "agent_options": [],
    "total_count": 1201,
    "analytics": {"fields": {}},
    "history": None,
}


def export_of(content: bytes, name: str = "pricing_export_2025-01-31_120000.zip") -> dict[str, Any]:
    encoded = base64.b64encode(content).decode()
    return {"content": encoded, "file_name": name, "mime_type": "application/zip", "row_count": 2}


@pytest.mark.parametrize("action", ["pricing", "groups", "export", "refresh"])
def test_each_is_a_post_of_an_empty_object_by_default(
    action: str, run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server.answers({"data": [], **export_of(b"")})

    assert run("system", action).code == 0

    request = server.last
    assert (request.method, request.path, request.query, request.body) == ("POST", f"/system/{action}", {}, b"{}")
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Content-Type"] == "application/json"


def test_the_documents_command_lines_send_their_bodies_as_they_stand(run: Run, server: Server) -> None:
    server.answers(PRICING)
    body = '{"start_date": "2025-01-01", "end_date": "2025-01-31", "x": 0.10000000000000000001}'

    assert run("system", "pricing", "--body", body).code == 0

    assert server.last.body.decode() == body


def test_the_organization_is_a_query_parameter(run: Run, server: Server) -> None:
    server.answers(PRICING)
    run("system", "pricing", "--organization", "acme & co")
    assert server.last.query == {"organization": "acme & co"}


def test_pricing_is_a_table_with_names_and_all_digits(run: Run, server: Server) -> None:
    server.answers(PRICING)

    done = run("system", "pricing")

    assert done.out.splitlines() == [
        "day         model    runs           cost",
        "2025-01-15  gpt-4o  1,200  $12.500000000",
        "2025-01-16              1   $0.000000123",
        "",
        "1201 runs",
    ]
    assert done.err == ""


def test_groups_are_a_table_with_their_page(run: Run, server: Server) -> None:
    group = {
        "group_id": "0b3a6f52-6c5e-5a5b-9d2e-6a0e8f1c2d3e",
        "group_key": "g-1",
        "session_id": None,
        "group_name": "Office hours",
        "first_run_at": "2025-01-15T09:00:00Z",
        "last_run_at": "2025-01-15T09:05:00Z",
        "run_count": 3,
        "total_input_tokens": 1200,
        "total_output_tokens": 300,
        "total_tokens": 1500,
        "total_cost": "0.0123",
        "agent_ids": ["a"],
        "agent_names": ["Student", "Tutor"],
        "model_ids": ["m"],
        "model_names": ["gpt-4o", "o3"],
        "brand_new": {"nested": [1]},
    }
    server.answers({"data": [group], "total_count": 41, "page": 2, "page_size": 25, "total_pages": 2})

    done = run("system", "groups", "--body", '{"page": 2}')

    assert done.lines == [
        "group key group name last run at run count total tokens total cost model names",
        "g-1 Office hours 2025-01-15T09:05:00Z 3 1,500 $0.0123 gpt-4o, o3",
        "page 2 of 2, 41 groups",
    ]


def test_a_page_without_groups_says_so(run: Run, server: Server) -> None:
    server.answers({"data": [], "total_count": 0, "page": 1, "page_size": 50, "total_pages": 0})
    assert run("system", "groups").lines == ["no groups", "page 1 of 0, 0 groups"]


def test_refresh_says_what_was_refreshed(run: Run, server: Server) -> None:
    server.answers({"success": True, "refreshed_views": [], "invalidated_tags": ["pricing", "group"]})
    assert "invalidated tags pricing, group" in run("system", "refresh").lines


@pytest.mark.parametrize("body", ["{", "[]", "null", '"x"', '{"a": "\ud800"}', "[" * 100_000])
def test_a_body_that_is_no_json_object_is_not_sent(body: str, run: Run, server: Server) -> None:
    done = run("system", "pricing", "--body", body)
    assert done.code == 2
    assert done.err.startswith("costtrack: Invalid JSON for --body: ")
    assert done.err.count("\n") == 1
    assert server.requests == []


# --- Export ----------------------------------------------------------------------------------------------------


def test_export_writes_the_file_under_the_servers_name(
    run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server.answers(export_of(b"PK zip"))

    done = run("system", "export")

    assert (tmp_path / "pricing_export_2025-01-31_120000.zip").read_bytes() == b"PK zip"
    assert done.out == "2 rows in pricing_export_2025-01-31_120000.zip\n"


def test_export_replaces_nothing_without_force(run: Run, server: Server, tmp_path: Path) -> None:
    server.answers(export_of(b"new"))
    path = tmp_path / "here.zip"
    path.write_bytes(b"old")

    done = run("system", "export", "--output", str(path))
    assert (done.code, path.read_bytes()) == (1, b"old")
    assert done.err == (f"costtrack: {path} already exists: choose another --output, or replace it with --force\n")

    assert run("system", "export", "--output", str(path), "--force").code == 0
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("../../up.zip", "up.zip"),
        ("/etc/up.zip", "up.zip"),
        ("..\\up.zip", "up.zip"),
        ("..", "pricing_export.zip"),
        ("", "pricing_export.zip"),
        ("a\nb", "pricing_export.zip"),
    ],
)
def test_the_server_does_not_choose_the_folder(
    name: str, written: str, run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    server.answers(export_of(b"zip", name))

    assert run("system", "export").code == 0

    assert [path.name for path in folder.iterdir()] == [written]


def test_export_to_a_pipe_is_the_file_alone(run: Run, server: Server) -> None:
    server.answers(export_of(b"PK\x03\x04zip"))
    assert run("system", "export", "--output", "-").out == "PK\x03\x04zip"


@pytest.mark.parametrize("content", [None, "***", 5])
def test_an_answer_without_a_file_is_an_error(content: Any, run: Run, server: Server) -> None:
    server.answers({"content": content, "file_name": "x.zip"})
    done = run("system", "export")
    assert (done.code, done.err) == (1, "costtrack: the response contains no file\n")


def test_a_folder_that_is_not_there_is_one_line(run: Run, server: Server, tmp_path: Path) -> None:
    server.answers(export_of(b"zip"))
    path = tmp_path / "nowhere" / "x.zip"
    done = run("system", "export", "--output", str(path))
    assert (done.code, done.err) == (1, f"costtrack: {path} cannot be written: No such file or directory\n")


def test_json_prints_the_answer_and_writes_nothing(
    run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    server.answers(export_of(b"zip"))

    assert '"row_count": 2' in run("system", "export", "--json").out
    assert list(folder.iterdir()) == []
    assert run("system", "export", "--json", "--output", "x.zip").code == 2
