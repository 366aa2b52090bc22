"""The packages of the image: their bill of materials, their licenses and their known vulnerabilities."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from costtrack import __version__
from deploy import dependencies
from deploy.dependencies import ROOT, bill_of_materials, find_vulnerabilities, image_packages, license_table, main

QUERIES: list[Any] = []


class Database(BaseHTTPRequestHandler):
    """Knows one vulnerability of the second package."""

    def do_POST(self) -> None:
        QUERIES.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        results: list[Any] = [{} for _ in QUERIES[-1]["queries"]]
        results[1] = {"vulns": [{"id": "PYSEC-2026-1", "modified": "2026-11-30T00:00:00Z"}]}
        body = json.dumps({"results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def database() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Database) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/querybatch"
        server.shutdown()
        thread.join()


def test_the_bill_of_materials_has_every_locked_package() -> None:
    document = bill_of_materials(image_packages())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["version"] == __version__
    urls = [component["purl"] for component in document["components"]]
    assert len(set(urls)) == len(urls) > 70
    assert {component["name"] for component in document["components"]} >= {"django", "celery", "psycopg", "granian"}
    assert document["dependencies"] == [{"ref": "costtrack", "dependsOn": urls}]


def test_the_licenses_of_all_packages_are_listed() -> None:
    table = license_table(image_packages())
    assert table == (ROOT / "docs" / "licenses.md").read_text(), "make licenses"
    assert "|  |" not in table


def test_known_vulnerabilities_are_named(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pins = image_packages()
    assert find_vulnerabilities(pins, database) == {pins[1]: ["PYSEC-2026-1"]}
    query = {"package": {"name": pins[0].name, "ecosystem": "PyPI"}, "version": pins[0].version}
    assert QUERIES[-1]["queries"][0] == query
    monkeypatch.setattr(dependencies, "find_vulnerabilities", lambda pins: {pins[1]: ["PYSEC-2026-1"]})
    assert main(["audit"]) == 1
    assert f"{pins[1].name} {pins[1].version}: PYSEC-2026-1" in capsys.readouterr().out


def test_a_database_that_cannot_be_reached_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(dependencies, "find_vulnerabilities", refuse)
    assert main(["audit"]) == 0
    expected = "NOT AUDITED: the database of vulnerabilities cannot be reached (no route).\n"
    assert capsys.readouterr().out == expected
