"""What the page Getting started gives people to copy, with the real LiteLLM: nothing of it is changed here."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from pytest_django.live_server_helper import LiveServer

from billing.admin.dashboard.getting_started.snippets import environment, integrations
from billing.models import Authorization, UsageEvent
from organizations.models import Organization
from tests.conftest import Key
from tests.examples.conftest import LITELLM_ENVIRONMENT
from tests.examples.provider import Provider, serving
from tests.stack.running import free_port
from tests.usage import set_price

# The first run installs LiteLLM with its proxy, which takes about a minute.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(480)]

MODEL = "gpt-4.1-mini"
MASTER_KEY = "sk-test"
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def snippets(live_server: LiveServer) -> dict[str, str]:
    return {
        piece.id: piece.text for way in integrations(server=live_server.url, has_api=True) for piece in way.snippets
    }


@pytest.fixture
def start(
    live_server: LiveServer,
    organization: Organization,
    key: Key,
    gateway_python: Path,
    snippets: dict[str, str],
    tmp_path: Path,
) -> Iterator[Start]:
    """A program of LiteLLM's environment, in a folder of its own, with the variables that the page shows."""
    set_price(MODEL, provider="openai", input="1", output="2", organization=organization)
    exports = environment(server=live_server.url, client_id=key.credential.client_id).text
    shown = dict(word.split("=", 1) for word in shlex.split(exports) if word != "export")
    shown["COSTTRACK_TOKEN"] = shown["COSTTRACK_TOKEN"].replace("YOUR_SECRET", key.client_secret)
    provider = Provider()
    around = {
        "HOME": str(tmp_path),
        **LITELLM_ENVIRONMENT,
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": provider.url,
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "COSTTRACK_TIMEOUT_MS": "20000",
    }
    started: list[subprocess.Popen[bytes]] = []

    def _start(program: str, *arguments: str, way: str = "litellm") -> subprocess.Popen[bytes]:
        install = shlex.split(snippets[f"snippet-{way}-install"].splitlines()[-1])
        mode = dict(word.split("=", 1) for word in install if word != "export")
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [gateway_python.with_name(program), *arguments],
                cwd=tmp_path,
                env={**around, **shown, **mode},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started.append(process)
        return process

    with serving(provider):
        yield _start
        for process in started:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _call_through_proxy(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """One call through a proxy, as soon as it listens."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {MASTER_KEY}"}) as client:
        for _ in range(600):
            try:
                if client.get("/health/liveliness", timeout=5).is_success:
                    break
            except httpx.HTTPError:
                assert process.poll() is None, log.read_text()
            time.sleep(0.2)  # somebody else's process; it tells nobody when it is ready
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 500}
        answer = client.post("/v1/chat/completions", json=body, timeout=60)
        assert answer.status_code == 200, answer.text


def _recorded(organization: Organization) -> list[tuple[str, str, int, int]]:
    """What is in the ledger, as soon as there is something."""
    events = UsageEvent.objects.of(organization)
    for _ in range(300):
        if events.exists():
            break
        time.sleep(0.1)  # LiteLLM tells in the background, every few seconds
    return [(event.service, event.model, event.input_tokens, event.output_tokens) for event in events]


def test_the_program_reports_its_call(
    snippets: dict[str, str], start: Start, organization: Organization, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(snippets["snippet-litellm-program"])
    assert start("python", "program.py").wait(120) == 0, (tmp_path / "log").read_text()
    assert _recorded(organization) == [("openai", MODEL, 1000, 500)]


@pytest.mark.parametrize("way", ["litellm", "gateway"])
def test_the_proxies_report_and_the_gateway_asks_before(
    snippets: dict[str, str], start: Start, organization: Organization, tmp_path: Path, way: str
) -> None:
    (tmp_path / "config.yaml").write_text(snippets[f"snippet-{way}-config"])
    process = _start_and_call(snippets, start, tmp_path, way)
    assert _recorded(organization) == [("openai", MODEL, 1000, 500)]
    _end(process)
    authorizations = Authorization.objects.of(organization).values_list("status", flat=True)
    assert list(authorizations) == (["settled"] if way == "gateway" else [])


def test_litellms_own_logger_reports_its_call(
    snippets: dict[str, str], start: Start, organization: Organization, tmp_path: Path
) -> None:
    config = yaml.safe_load(snippets["snippet-litellm-config"])
    logger = yaml.safe_load(snippets["snippet-litellm-logger"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config, **logger}))
    _start_and_call(snippets, start, tmp_path, "litellm")
    assert _recorded(organization) == [("openai", MODEL, 1000, 500)]


def _start_and_call(snippets: dict[str, str], start: Start, folder: Path, way: str) -> subprocess.Popen[bytes]:
    program, *arguments = shlex.split(snippets[f"snippet-{way}-start"].splitlines()[-1])
    port = free_port()
    process = start(program, *arguments, "--host", "127.0.0.1", "--port", str(port), way=way)
    _call_through_proxy(process, port, folder / "log")
    return process
