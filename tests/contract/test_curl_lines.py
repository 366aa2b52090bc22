"""The documents' command lines as they stand there, with the real `curl` and with our client in the place of `glow`.

What a line cannot say (the key for document 003, whose gateway adds it) stands in curl's configuration file.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from organizations.models import Organization
from tests.conftest import Key
from tests.usage import Send, set_price

pytestmark = pytest.mark.django_db(transaction=True)

Shell = Callable[..., Any]

_SILENT = "silent\nshow-error\nfail-with-body\n"
_GLOW = 'glow() { "$PYTHON" -m costtrack "$@"; }\n'


@pytest.fixture
def curl() -> None:
    if shutil.which("curl") is None:
        pytest.fail("This test needs curl: install it (on Debian: apt install curl).")


@pytest.fixture
def enterprise(organization: Organization) -> None:
    """The documents' dates are years ago, and other plans have neither such usage nor exports."""
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")


@pytest.fixture
def shell(curl: None, live_server: LiveServer, key: Key, tmp_path: Path) -> Shell:
    """Runs a line in bash, in an empty home, and answers its JSON (`as_text`: what it has printed)."""
    (tmp_path / ".curlrc").write_text(_SILENT)

    def _shell(line: str, *, as_text: bool = False, **variables: str) -> Any:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "NO_PROXY": "*",
            "PYTHON": sys.executable,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "GLOW_INSTANCE_URL": live_server.url,
            "GLOW_TOKEN": key.api_key,
            **variables,
        }
        done = subprocess.run(
            ["/bin/bash", "-c", _GLOW + line],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr if not as_text else "") == (0, ""), done.stdout + done.stderr
        return done.stdout if as_text else json.loads(done.stdout)

    return _shell


@pytest.fixture
def january(enterprise: None, send: Send) -> None:
    group = {"group_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "group_name": "Office hours"}
    call = {**group, "service": "openai", "model": "gpt-4o", "input_tokens": 90, "output_tokens": 10}
    send(
        {**call, "occurred_at": "2025-01-01T00:00:00Z", "cost_usd": "0.01"},
        {**call, "occurred_at": "2025-01-31T23:59:59Z", "cost_usd": "0.0023"},
        {**call, "occurred_at": "2025-02-01T00:00:00Z", "cost_usd": "7"},
    )


# --- Document 000 ----------------------------------------------------------------------------------------------

PRICING = """
# Get daily cost aggregations
curl -X POST $GLOW_INSTANCE_URL/system/pricing \\
  -H "Authorization: Bearer $GLOW_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{ "start_date": "2025-01-01", "end_date": "2025-01-31" }'
"""
GROUPS = """
# Search group history
curl -X POST $GLOW_INSTANCE_URL/system/groups \\
  -H "Authorization: Bearer $GLOW_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{ "page": 1, "page_size": 20, "sort_order": "desc" }'
"""


def test_glow_daily_costs(shell: Shell, january: None) -> None:
    answer = shell(PRICING)

    assert [(item["date_key"], item["total_cost"], item["run_count"]) for item in answer["daily"]] == [
        ("2025-01-01", "0.01", 1),
        ("2025-01-31", "0.0023", 1),
    ]
    assert answer["total_count"] == 2


def test_glow_group_history(shell: Shell, january: None) -> None:
    answer = shell(GROUPS)

    assert (answer["page"], answer["page_size"], answer["total_count"]) == (1, 20, 1)
    (group,) = answer["data"]
    assert (group["group_name"], group["run_count"], group["total_cost"]) == ("Office hours", 3, "7.0123")


@pytest.mark.parametrize(
    ("line", "same_as", "shown"),
    [
        (
            'glow system pricing --body \'{"start_date": "2025-01-01", "end_date": "2025-01-31"}\'',
            PRICING,
            "0.0023",
        ),
        (
            'glow system groups --body \'{"page": 1, "page_size": 25, "sort_order": "desc"}\'',
            GROUPS.replace("20", "25"),
            "Office hours",
        ),
        (
            "glow system pricing",
            PRICING.replace('{ "start_date": "2025-01-01", "end_date": "2025-01-31" }', "{}"),
            "$7",
        ),
    ],
)
def test_glow_lines_of_the_client(shell: Shell, january: None, line: str, same_as: str, shown: str) -> None:
    """They say the same as curl, in a table or as JSON."""
    assert shown in shell(line, as_text=True)
    assert shell(f"{line} --json") == shell(same_as)


def test_glow_export_writes_a_zip(shell: Shell, january: None, tmp_path: Path) -> None:
    shell("glow system export", as_text=True)

    (file,) = tmp_path.glob("*.zip")
    with zipfile.ZipFile(file) as archive:
        (name,) = archive.namelist()
        assert len(archive.read(name).splitlines()) == 1 + 3


def test_glow_refresh(shell: Shell) -> None:
    assert shell("glow system refresh --json")["success"] is True


# --- Document 002 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["x-api-key: $LUMEA_API_KEY", "Authorization: Bearer $LUMEA_API_KEY"])
def test_lumea_run_costs(shell: Shell, live_server: LiveServer, key: Key, send: Send, header: str) -> None:
    """URL: /costs/runs/{run_id} and /costs/runs, each "prefixed with your organization's specific API URL"."""
    send(
        {"run_id": "run_1", "service": "openai", "model": "gpt-4", "cost_usd": "0.25"},
        {"run_id": "run_1", "service": "openai", "model": "gpt-3.5-turbo", "cost_usd": "0.1"},
        {
            "run_id": "run_2",
            "parent_run_id": "run_1",
            "service": "anthropic",
            "model": "claude-3-opus",
            "cost_usd": "0.1",
        },
    )
    expected = {
        "total_cost": 0.45,
        "costs_by_service": {"openai": 0.35, "anthropic": 0.1},
        "costs_by_group": {"openai": {"gpt-4": 0.25, "gpt-3.5-turbo": 0.1}, "anthropic": {"claude-3-opus": 0.1}},
    }

    for path in ("/costs/runs/run_1?include_children=true", "/costs/runs"):
        line = f'curl "$LUMEA_URL{path}" -H "{header}"'
        assert shell(line, LUMEA_URL=live_server.url, LUMEA_API_KEY=key.api_key) == expected


# --- Document 003 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ('curl -X GET "https://loading/costs/sessions"', ["session_id", "is_finalized", "cost_by_tool_tokens"]),
        ('curl -X GET "https://loading/costs/sessions/string"', ["session_id", "tokens_by_tool", "workspace_id"]),
        ('curl -X GET "https://loading/costs/executions"', ["execution_id", "session_ids", "cost_by_phase"]),
        ('curl -X GET "https://loading/costs/executions/string"', ["execution_id", "session_count", "is_complete"]),
        ('curl -X GET "https://loading/costs/summary"', ["total_sessions", "top_models", "top_sessions"]),
    ],
)
def test_syntropic_lines(
    shell: Shell, live_server: LiveServer, key: Key, send: Send, tmp_path: Path, line: str, keys: list[str]
) -> None:
    """`loading` stands for the server's address."""
    send({"session_id": "string", "execution_id": "string", "model": "claude-sonnet-4", "cost_usd": "0.000000001"})
    with (tmp_path / ".curlrc").open("a") as configuration:
        configuration.write(f'header = "Authorization: Bearer {key.api_key}"\n')

    answer = shell(line.replace("https://loading", live_server.url))

    found = answer[0] if isinstance(answer, list) else answer
    assert found.keys() >= set(keys)
    assert found["total_cost_usd"] == "0.000000001"


# --- Document 004 ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("enterprise")
@pytest.mark.parametrize("header", ["Authorization: Bearer $KEY", "x-alphaneural-api-key: $KEY"])
def test_alphaneural_spend_lines(shell: Shell, live_server: LiveServer, key: Key, send: Send, header: str) -> None:
    """The last day of the window is in it."""
    send(
        {
            "request_id": "chatcmpl-1",
            "occurred_at": "2024-01-01T10:00:00Z",
            "cost_usd": "0.01",
            "tags": ["env:staging"],
        },
        {
            "request_id": "chatcmpl-2",
            "occurred_at": "2024-01-02T23:59:59Z",
            "cost_usd": "0.02",
            "tags": ["env:staging"],
        },
    )

    def get_json(path: str) -> Any:
        return shell(f'curl "$BASE{path}" -H "{header}"', BASE=live_server.url, KEY=key.api_key)

    window = "start_date=2024-01-01&end_date=2024-01-02"
    assert [row["request_id"] for row in get_json("/spend/logs")] == ["chatcmpl-2", "chatcmpl-1"]
    assert [row["spend"] for row in get_json(f"/spend/logs?{window}&summarize=false")] == [0.02, 0.01]
    assert [(day["startTime"], day["spend"]) for day in get_json(f"/spend/logs?{window}")] == [
        ("2024-01-01", 0.01),
        ("2024-01-02", 0.02),
    ]
    assert get_json(f"/spend/tags?{window}") == [
        {"individual_request_tag": "env:staging", "log_count": 2, "total_spend": 0.03}
    ]


@pytest.mark.parametrize(
    ("body", "cost"),
    [
        ({"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Hey, how's it going?"}]}, 0.000014),
        (
            {
                "completion_response": {
                    "id": "chatcmpl-123",
                    "object": "chat.completion",
                    "created": 1677652288,
                    "model": "gpt-3.5-turbo",
                    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there"}}],
                    "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
                }
            },
            0.000033,
        ),
    ],
)
def test_alphaneural_calculate_lines(
    shell: Shell, live_server: LiveServer, key: Key, body: dict[str, Any], cost: float
) -> None:
    set_price("gpt-3.5-turbo", input="1", output="2", organization=key.credential.organization)
    line = (
        'curl -X POST "$BASE/spend/calculate" -H "Authorization: Bearer $KEY" '
        '-H "Content-Type: application/json" -d "$BODY"'
    )

    assert shell(line, BASE=live_server.url, KEY=key.api_key, BODY=json.dumps(body)) == {"cost": cost}
