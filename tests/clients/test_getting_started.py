"""The programs of the page Getting started, as printed, each in the environment of its client."""

import os
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from billing.admin.dashboard.getting_started.snippets import environment, integrations
from billing.models import UsageEvent
from organizations.models import Organization
from organizations.types import Scope
from tests.clients.answers import CannedProvider, answering
from tests.conftest import make_key
from tests.examples.environments import python_of
from tests.usage import set_price

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(480)]

FOLDER = Path(__file__).parent
# `pip install` fails unless the packages are installed already: the test's environments have what their locks name.
PIP = 'pip() { shift; python -m pip --disable-pip-version-check show --quiet "${@%%[<>=]*}"; }\n'
CLIENTS = {
    "opentelemetry": "opentelemetry_sdk",
    "openinference": "openinference_sdk",
    "traceloop": "traceloop_sdk",
    "langfuse": "langfuse_sdk",
    "openmeter": "openmeter_sdk",
}


@pytest.fixture
def provider() -> Iterator[CannedProvider]:
    with answering() as provider:
        yield provider


@pytest.mark.parametrize("way", CLIENTS)
def test_the_program_of_a_client_records_its_call(
    way: str, provider: CannedProvider, live_server: LiveServer, organization: Organization, tmp_path: Path
) -> None:
    set_price("gpt-4.1-mini", provider="openai", input="0.4", output="1.6", cache_read="0.1")
    key = make_key(organization, Scope.USAGE_WRITE)
    exports = environment(server=live_server.url, client_id=key.credential.client_id).text
    [integration] = [item for item in integrations(server=live_server.url, has_api=True) if item.id == way]
    settings, *programs = [snippet.text for snippet in integration.snippets]
    for program in programs:
        (tmp_path / "program.py").write_text(program)
    commands = [
        PIP,
        exports.replace("YOUR_SECRET", key.client_secret),
        settings,
        *(["python program.py"] * len(programs)),
    ]
    python = python_of(FOLDER / CLIENTS[way])
    done = subprocess.run(
        ["/bin/bash", "-euc", "\n".join(commands)],
        cwd=tmp_path,
        env={
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"{provider.url}/v1",
            "TRACELOOP_TELEMETRY": "false",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    event = UsageEvent.objects.get(organization=organization)
    # The canned call has 8,000 cached of 10,000 tokens.
    cost = Decimal("0.0024") if provider.answered else Decimal("0.00096")
    assert (event.model, event.token_cost_usd) == ("gpt-4.1-mini", cost)
