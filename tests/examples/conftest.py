"""Fixtures of the tests of costtrack-litellm: a Python with LiteLLM, a provider, and a relay to a running costtrack."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.examples.environments import ROOT, python_of
from tests.examples.programs import Interpreter
from tests.examples.provider import MODELS, Provider, Relay, serving
from tests.usage import set_price

GATEWAY = ROOT / "examples" / "litellm_gateway"
PACKAGE = ROOT / "packages" / "costtrack-litellm"


LITELLM_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(PACKAGE),
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


@pytest.fixture(scope="session")
def gateway_python() -> Path:
    return python_of(GATEWAY)


@pytest.fixture(scope="module")
def interpreter(gateway_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interpreter]:
    folder = tmp_path_factory.mktemp("programs")
    environment = {"HOME": str(folder), **LITELLM_ENVIRONMENT}
    interpreter = Interpreter(gateway_python, environment, folder / "log")
    yield interpreter
    interpreter.end()


@dataclass(frozen=True)
class Setting:
    """One organization, its models' prices, and who takes part. `environment` is for the callback."""

    provider: Provider
    relay: Relay
    environment: dict[str, str]


@pytest.fixture
def setting(live_server: LiveServer, organization: Organization, tmp_path: Path) -> Iterator[Setting]:
    """Calls cost 0.002 US dollars: 1,000 tokens go in, and 500 come out."""
    for model in MODELS:
        set_price(model, provider="openai", input="1", output="2", organization=organization)
    key = make_key(organization, Scope.USAGE_WRITE, Scope.LIMITS_AUTHORIZE)
    provider, relay = Provider(), Relay(live_server.url)
    environment = {
        "COSTTRACK_URL": relay.url,
        "COSTTRACK_TOKEN": key.api_key,
        "COSTTRACK_TIMEOUT_MS": "20000",  # a busy machine; outages have tests of their own
        "COSTTRACK_IN_OUTAGE": "allow",
        "COSTTRACK_QUEUE": str(tmp_path / "queue"),
        "PROVIDER": provider.url,
    }
    with serving(provider), serving(relay):
        yield Setting(provider, relay, environment)


@pytest.fixture
def reporting(setting: Setting, organization: Organization) -> dict[str, str]:
    """The callback's environment when it reports, with a key that may do nothing else."""
    key = make_key(organization, Scope.USAGE_WRITE)
    return {"COSTTRACK_MODE": "report", "COSTTRACK_TOKEN": key.api_key}


@dataclass(frozen=True)
class Programs:
    """Programs of one test: they have `call(model)`, LiteLLM with the `callback`, and `results`, which is given."""

    interpreter: Interpreter
    environment: dict[str, str]

    def __call__(self, program: str, **environment: str) -> Any:
        return self.interpreter.run(program, {**self.environment, **environment})


@pytest.fixture
def run(interpreter: Interpreter, setting: Setting) -> Programs:
    return Programs(interpreter, setting.environment)
