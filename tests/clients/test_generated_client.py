"""A client that openapi-python-client generates from the OpenAPI document has every operation."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.examples.environments import python_of

# The first run installs the generator.
pytestmark = pytest.mark.timeout(300)

FOLDER = Path(__file__).parent
DOCUMENT = FOLDER.parents[1] / "docs" / "openapi.yaml"
METHODS = {"get", "post", "put", "patch", "delete"}
# Imports every module of the client, and reads both responses of `GET /usage/access`.
PROGRAM = """
import importlib, json, pkgutil
import generated
for module in pkgutil.walk_packages(generated.__path__, "generated."):
    importlib.import_module(module.name)
from generated.api.limits import usage_access
from generated.client import AuthenticatedClient
import httpx
client = AuthenticatedClient(base_url="http://x.example", token="x")
def parsed(body):
    return type(usage_access._parse_response(client=client, response=httpx.Response(200, json=body))).__name__
print(json.dumps([parsed(body) for body in json.loads(input())]))
"""
REFUSED = {
    "allowed": False,
    "error": "The limit of the organization is reached.",
    "code": "spend_limit_exceeded",
    "reason": "limit_reached",
    "limit": {
        "id": 1,
        "scope": "organization",
        "scope_value": "",
        "window": "lifetime",
        "amount_usd": "1",
        "action": "pause",
    },
    "spent_usd": "1",
    "reserved_usd": "0",
    "remaining_usd": "0",
    "requested_usd": "0",
    "currency": "USD",
    "window_start": None,
    "window_end": None,
    "time_zone": "UTC",
    "resets_at": None,
    "retry_after": None,
    "as_of": "2026-11-02T12:00:00Z",
    "request_increase": "/organizations/acme/limit-requests",
}
ALLOWED = {"allowed": True, "as_of": "2026-11-02T12:00:00Z"}


@pytest.fixture(scope="module")
def python() -> Path:
    return python_of(FOLDER / "openapi_python_client")


@pytest.fixture(scope="module")
def client(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated package."""
    target = tmp_path_factory.mktemp("client") / "generated"
    command: list[str | Path] = [
        python,
        "-m",
        "openapi_python_client",
        "generate",
        "--meta",
        "none",
        "--path",
        DOCUMENT,
    ]
    subprocess.run([*command, "--output-path", target], check=True, capture_output=True, timeout=120)
    return target


def test_every_operation_is_generated(client: Path) -> None:
    paths = yaml.safe_load(DOCUMENT.read_text())["paths"].values()
    operations = {path[method]["operationId"] for path in paths for method in METHODS & path.keys()}

    generated = {module.stem for module in (client / "api").rglob("*.py")} - {"__init__"}

    assert generated == operations


def test_the_client_can_be_imported_and_knows_a_yes_from_a_no(client: Path, python: Path) -> None:
    done = subprocess.run(
        [python, "-c", PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        cwd=client.parent,
        input=json.dumps([REFUSED, ALLOWED]),
        timeout=120,
    )
    assert json.loads(done.stdout) == ["NotAllowed", "Allowed"]
