"""What people copy to send their first usage: by hand, by LiteLLM, through a gateway, from a file.

Secrets are shown once, on a page of their own, so a snippet has a placeholder in its place.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from shlex import quote

from organizations.types import Scope

CLIENT_ID, SECRET = "YOUR_CLIENT_ID", "YOUR_SECRET"
CALL = {
    "service": "openai",
    "model": "gpt-4.1-mini",
    "input_tokens": 1200,
    "output_tokens": 300,
    "capability": "chat",
    "user_id": "ada",
    "tags": ["team:search"],
}

_CURL = """\
curl -X POST {address} \\
  -H "Authorization: Bearer $COSTTRACK_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{body}'
"""
_PROXY = """\
model_list:
  - model_name: gpt-4.1-mini
    litellm_params:
      model: openai/gpt-4.1-mini
      api_key: os.environ/OPENAI_API_KEY

litellm_settings:
  callbacks: ["costtrack"]
  turn_off_message_logging: true # prompts and answers stay with you
  request_correlation_in_logs: true # tells sessions from traces

callback_settings:
  costtrack:
    callback_type: generic_api
    endpoint: {address}
    headers: {{x-api-key: os.environ/COSTTRACK_TOKEN}}
    max_retries: 5 # without retries LiteLLM drops a batch that did not arrive
"""
_PROGRAM = """\
import asyncio
import os

import litellm
from litellm.integrations.generic_api.generic_api_callback import GenericAPILogger


async def main() -> None:
    logger = GenericAPILogger(
        endpoint="{address}",
        headers={{"x-api-key": os.environ["COSTTRACK_TOKEN"]}},
        max_retries=5,
    )
    litellm.callbacks = [logger]
    await litellm.acompletion("openai/gpt-4.1-mini", messages=[{{"role": "user", "content": "Hello"}}])
    while not logger.log_queue:  # LiteLLM logs in the background
        await asyncio.sleep(0.1)
    await logger.async_send_batch()  # before the program ends: what LiteLLM still holds


asyncio.run(main())
"""
_GATEWAY = """\
model_list:
  - model_name: gpt-4.1-mini
    litellm_params:
      model: openai/gpt-4.1-mini
      api_key: os.environ/OPENAI_API_KEY

litellm_settings:
  callbacks: costtrack_gateway.gateway
  turn_off_message_logging: true # prompts and answers go to no logger
  num_retries: 1 # each attempt is authorized by itself

general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
"""
_START_PROXY = """\
pip install 'litellm[proxy]'
export OPENAI_API_KEY=YOUR_OPENAI_KEY
litellm --config config.yaml
"""
_START_GATEWAY = """\
pip install 'litellm[proxy]' httpx
export OPENAI_API_KEY=YOUR_OPENAI_KEY LITELLM_MASTER_KEY=sk-YOUR_CHOICE
litellm --config config.yaml
"""
_SEND = """\
costtrack events send - <<'EOF'
{event}
EOF
"""
_READ = """\
costtrack usage summary --range day
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """A text to copy. `id` is of this page alone; `copies` is what its button says."""

    id: str
    about: str
    text: str
    copies: str


@dataclass(frozen=True, slots=True)
class Way:
    """A way to send usage. `scopes` are what the credential needs."""

    id: str
    name: str
    about: str
    scopes: tuple[str, ...]
    pieces: tuple[Piece, ...]


def environment(*, server: str, client_id: str) -> Piece:
    """What every other snippet reads. An empty Client ID leaves its placeholder, too."""
    token = f"{client_id or CLIENT_ID}.{SECRET}"
    text = f"export COSTTRACK_URL={quote(server)}\nexport COSTTRACK_TOKEN={quote(token)}\n"
    return Piece("snippet-environment", "In your shell, for all of the ways below:", text, "Copy variables")


def ways(*, server: str, has_api: bool) -> tuple[Way, ...]:
    """Without API access usage can be sent, and nothing be read or asked."""
    by_hand = Way(
        "curl",
        "curl",
        "One call as JSON. Any program that can make an HTTP request does the same. The id makes it safe to send "
        "again: the same event counts once.",
        (Scope.USAGE_WRITE.value,),
        (Piece("snippet-curl", "Send a first event:", _curl(server), "Copy command"),),
    )
    litellm = Way(
        "litellm",
        "LiteLLM",
        "LiteLLM's own generic API logger reports every call, its tokens and its cost. Nothing else is installed.",
        (Scope.USAGE_WRITE.value,),
        tuple(_litellm(server)),
    )
    gateway = Way(
        "gateway",
        "Gateway with limits",
        "A LiteLLM proxy that asks before each call whether the spend limits allow it, so that a limit stops calls "
        "and does not just report them.",
        (Scope.USAGE_WRITE.value, Scope.LIMITS_AUTHORIZE.value),
        tuple(_gateway()),
    )
    files = Way(
        "cli",
        "Command line",
        "Files of events, of any size: an array, or one event per line. An interrupted send goes on where it was.",
        (Scope.USAGE_WRITE.value, Scope.COSTS_READ.value) if has_api else (Scope.USAGE_WRITE.value,),
        tuple(_command_line(has_api=has_api)),
    )
    return (by_hand, litellm, gateway, files) if has_api else (by_hand, litellm, files)


def _curl(server: str) -> str:
    fields = {"id": "first-call", **CALL}.items()
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in fields)
    return _CURL.format(address=quote(f"{server}/usage/events"), body=f"{{\n{lines}\n  }}")


def _litellm(server: str) -> Iterator[Piece]:
    address = f"{server}/integrations/litellm"
    yield Piece("snippet-litellm-config", "For the proxy, as config.yaml:", _PROXY.format(address=address), "Copy file")
    yield Piece("snippet-litellm-start", "Start the proxy:", _START_PROXY, "Copy commands")
    yield Piece("snippet-litellm-program", "Or in a program:", _PROGRAM.format(address=address), "Copy program")


def _gateway() -> Iterator[Piece]:
    about = "Copy costtrack_gateway.py from examples/litellm_gateway of costtrack, and put this config.yaml beside it:"
    yield Piece("snippet-gateway-config", about, _GATEWAY, "Copy file")
    yield Piece("snippet-gateway-start", "Start the gateway:", _START_GATEWAY, "Copy commands")


def _command_line(*, has_api: bool) -> Iterator[Piece]:
    yield Piece("snippet-cli-install", "In a checkout of costtrack:", "pip install .\n", "Copy command")
    event = json.dumps({"id": "first-line", **CALL})
    yield Piece("snippet-cli-send", "Send a line:", _SEND.format(event=event), "Copy commands")
    if has_api:
        yield Piece("snippet-cli-read", "And read what it cost:", _READ, "Copy command")
