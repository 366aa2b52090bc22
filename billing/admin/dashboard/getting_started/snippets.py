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
_CONFIG = """\
model_list:
  - model_name: gpt-4.1-mini
    litellm_params:
      model: openai/gpt-4.1-mini
      api_key: os.environ/OPENAI_API_KEY

litellm_settings:
  callbacks: costtrack_gateway.gateway
  turn_off_message_logging: true # prompts and answers go to no logger
  num_retries: 1 # each attempt is a call of its own in the ledger

general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
"""
_PROGRAM = """\
import asyncio

import litellm
from costtrack_gateway import gateway


async def main() -> None:
    litellm.callbacks = [gateway]
    await litellm.acompletion("openai/gpt-4.1-mini", messages=[{"role": "user", "content": "Hello"}])
    await gateway.aclose()  # before the program ends: send what is left


asyncio.run(main())
"""
_LOGGER = """\
litellm_settings:
  callbacks: ["costtrack"]
  turn_off_message_logging: true # prompts and answers stay with you
  request_correlation_in_logs: true # tells sessions from traces

callback_settings:
  costtrack:
    callback_type: generic_api
    endpoint: {address}
    headers: {{x-api-key: os.environ/COSTTRACK_TOKEN}}
    max_retries: 6
    retry_delay: 1 # seconds, doubled each time: 63 in all; without it all retries happen at once
"""
_INSTALL = """\
pip install 'litellm[proxy]' httpx
export COSTTRACK_MODE={mode}
"""
_START = """\
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
        "A hook for LiteLLM's proxy or SDK that reports every call, its tokens and its cost, and keeps what it has to "
        "report while this server is away.",
        (Scope.USAGE_WRITE.value,),
        tuple(_litellm(server)),
    )
    gateway = Way(
        "gateway",
        "Gateway with limits",
        "The same hook, which also asks before each call whether the spend limits allow it. So a limit stops calls "
        "instead of only reporting them.",
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
    yield from _hook("litellm", mode="report")
    yield Piece("snippet-litellm-program", "Or use it in a program:", _PROGRAM, "Copy program")
    about = (
        "Without a file to copy, LiteLLM's own generic API logger sends calls, too. It loses some: under load, those "
        "that end while it sends (2.5% to 12% in our measurements), and in an outage most."
    )
    address = f"{server}/integrations/litellm"
    yield Piece("snippet-litellm-logger", about, _LOGGER.format(address=address), "Copy settings")


def _gateway() -> Iterator[Piece]:
    yield from _hook("gateway", mode="authorize")


def _hook(way: str, *, mode: str) -> Iterator[Piece]:
    about = "Copy costtrack_gateway.py from examples/litellm_gateway of costtrack, then:"
    yield Piece(f"snippet-{way}-install", about, _INSTALL.format(mode=mode), "Copy commands")
    yield Piece(f"snippet-{way}-config", "Put this config.yaml beside it:", _CONFIG, "Copy file")
    yield Piece(f"snippet-{way}-start", "Start the proxy:", _START, "Copy commands")


def _command_line(*, has_api: bool) -> Iterator[Piece]:
    yield Piece("snippet-cli-install", "In a checkout of costtrack:", "pip install .\n", "Copy command")
    event = json.dumps({"id": "first-line", **CALL})
    yield Piece("snippet-cli-send", "Send a line:", _SEND.format(event=event), "Copy commands")
    if has_api:
        yield Piece("snippet-cli-read", "And read what it cost:", _READ, "Copy command")
