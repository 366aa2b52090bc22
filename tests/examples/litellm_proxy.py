"""A real LiteLLM proxy with costtrack-litellm."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.examples.conftest import GATEWAY, LITELLM_ENVIRONMENT
from tests.examples.provider import MODELS
from tests.stack.running import free_port

MASTER_KEY = "sk-test"
REQUEST_BODY = {"messages": [{"role": "user", "content": "What is neutral?"}], "max_tokens": 500}


class Proxy:
    """Its log and its configuration are in the folder. Models are those of the provider, and `mock`, which LiteLLM
    answers without a provider, in any API's form."""

    def __init__(
        self, python: Path, folder: Path, environment: dict[str, str], *, provider_url: str = "http://127.0.0.1:9"
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "log"
        where = {"api_base": provider_url, "api_key": "none"}
        models = [{"model_name": name, "litellm_params": {"model": f"openai/{name}", **where}} for name in MODELS]
        instead = {"model": "openai/fine", "mock_response": "These are some neutral words."}
        prices = {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}  # without one, each call is diagnosed
        models.append({"model_name": "mock", "litellm_params": {**instead, "api_key": "none", **prices}})
        configuration = yaml.safe_load((GATEWAY / "config.yaml").read_text())
        configuration = {**configuration, "model_list": models, "general_settings": {"master_key": MASTER_KEY}}
        (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
        command = [str(python.with_name("litellm")), "--config", str(folder / "config.yaml"), "--host", "127.0.0.1"]
        self._command = [*command, "--port", str(port)]
        # LiteLLM ends without the calls that it has not logged after five seconds.
        patience = {"MAX_TIME_TO_CLEAR_QUEUE": "60"}
        self._environment = {"HOME": str(folder), **LITELLM_ENVIRONMENT, **patience, **environment}
        self.begin()

    def begin(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {MASTER_KEY}", **headers}, timeout=60)

    def end(self) -> None:
        """As an orchestrator does: it may send what is pending."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(600)

    def wait_until_ready(self) -> None:
        for _ in range(600):
            try:
                if httpx.get(f"{self.url}/health/liveliness", timeout=5).is_success:
                    return
            except httpx.HTTPError:
                assert self._process.poll() is None, self._log.read_text()
            time.sleep(0.2)  # another program's process, which has no signal for it
        raise AssertionError(self._log.read_text())

    def wait_until_logged(self, text: str) -> None:
        while text not in self._log.read_text():
            time.sleep(0.05)  # another program's process, which has no signal for it

    def wait_until_it_fails(self) -> str:
        """Return its log."""
        assert self._process.wait(120) != 0
        return self._log.read_text()


def complete(client: httpx.Client, model: str, **options: Any) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"model": model, **REQUEST_BODY, **options})
