"""Snippets for sending the first usage: as JSON, with LiteLLM, a gateway, the command line, or another sender.

Secrets are shown only once, on their own page, so the snippets have a placeholder.
"""

import json
from collections.abc import Iterator
from shlex import quote

from django.templatetags.static import static

from billing.admin.components.client_packages import CLI_PACKAGE, LITELLM_PACKAGE
from billing.admin.dashboard.getting_started.senders import senders
from billing.admin.dashboard.getting_started.types import Integration, Snippet
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
curl -X POST "$COSTTRACK_URL/usage/events" \\
  -H "Authorization: Bearer $COSTTRACK_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{body}'
"""
_PYTHON = """\
import json
import os
import urllib.request

event = {
    "id": "first-program",
    "service": "openai",
    "model": "gpt-4.1-mini",
    "usage": {"prompt_tokens": 1200, "completion_tokens": 300},  # as the provider returns it
}
headers = {"Authorization": "Bearer " + os.environ["COSTTRACK_TOKEN"], "Content-Type": "application/json"}
url = os.environ["COSTTRACK_URL"] + "/usage/events"
request = urllib.request.Request(url, json.dumps(event).encode(), headers)
print(urllib.request.urlopen(request).read().decode())
"""
_CONFIG = """\
model_list:
  - model_name: gpt-4.1-mini
    litellm_params:
      model: openai/gpt-4.1-mini
      api_key: os.environ/OPENAI_API_KEY

litellm_settings:
  callbacks: costtrack_litellm.callback
  turn_off_message_logging: true # no logger gets prompts and completions
  num_retries: 1 # each attempt is a separate call in the ledger

general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
"""
_PROGRAM = """\
import asyncio

import litellm
from costtrack_litellm import callback


async def main() -> None:
    litellm.callbacks = [callback]
    await litellm.acompletion("openai/gpt-4.1-mini", messages=[{"role": "user", "content": "Hello"}])
    await callback.aclose()  # before the program ends, to send the rest of the queue


asyncio.run(main())
"""
_LOGGER = """\
litellm_settings:
  callbacks: ["costtrack"]
  turn_off_message_logging: true # prompts and completions do not leave your network
  request_correlation_in_logs: true # distinguishes sessions from traces

callback_settings:
  costtrack:
    callback_type: generic_api
    endpoint: {address}
    headers: {{x-api-key: os.environ/COSTTRACK_TOKEN}}
    max_retries: 6
    retry_delay: 1 # seconds, doubled each time (63 in total); without it all retries happen immediately
"""
_INSTALL = """\
pip install 'litellm[proxy]' {package}
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


def environment(*, server: str, client_id: str) -> Snippet:
    """Return the environment variables of all snippets. An empty Client ID leaves a placeholder."""
    token = f"{client_id or CLIENT_ID}.{SECRET}"
    text = f"export COSTTRACK_URL={quote(server)}\nexport COSTTRACK_TOKEN={quote(token)}\n"
    return Snippet("snippet-environment", "In your shell, for all of the options below:", text, "Copy variables")


def integrations(*, server: str, has_api: bool) -> tuple[Integration, ...]:
    """Return the integrations. Without API access usage can be sent, but not read or authorized."""
    curl = Integration(
        "curl",
        "JSON",
        "One call as JSON. Any program that can make an HTTP request can do this. The id makes it safe to send "
        "it again: an event counts once.",
        (Scope.USAGE_WRITE.value,),
        (
            Snippet("snippet-curl", "Send the first event:", _curl(), "Copy command"),
            Snippet("snippet-python", "Or with Python:", _PYTHON, "Copy program"),
        ),
    )
    litellm = Integration(
        "litellm",
        "LiteLLM",
        "A callback for LiteLLM's proxy or SDK that reports every call with its tokens and cost. While this server is "
        "unreachable, it stores the calls on disk and sends them later.",
        (Scope.USAGE_WRITE.value,),
        tuple(_litellm(server)),
    )
    gateway = Integration(
        "gateway",
        "Gateway with limits",
        "The same callback, which also checks spend limits before each call, so that limits can stop calls.",
        (Scope.USAGE_WRITE.value, Scope.LIMITS_AUTHORIZE.value),
        tuple(_callback("gateway", server, mode="authorize")),
    )
    files = Integration(
        "cli",
        "Command line",
        "Event files of any size: a JSON array, or one event per line. An interrupted upload resumes where it stopped.",
        (Scope.USAGE_WRITE.value, Scope.COSTS_READ.value) if has_api else (Scope.USAGE_WRITE.value,),
        tuple(_command_line(server, has_api=has_api)),
    )
    gateways = (gateway,) if has_api else ()
    return (curl, litellm, *gateways, *senders(), files)


def _curl() -> str:
    fields = {"id": "first-call", **CALL}.items()
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in fields)
    return _CURL.format(body=f"{{\n{lines}\n  }}")


def _litellm(server: str) -> Iterator[Snippet]:
    yield from _callback("litellm", server, mode="report")
    yield Snippet("snippet-litellm-program", "Or use it in your program:", _PROGRAM, "Copy program")
    about = (
        "LiteLLM's own generic API logger needs no package, but it loses calls: those that end while it is sending "
        "(2.5% to 12% under load in our tests), and about half of all calls during an outage."
    )
    address = f"{server}/integrations/litellm"
    yield Snippet("snippet-litellm-logger", about, _LOGGER.format(address=address), "Copy settings")


def _callback(integration: str, server: str, *, mode: str) -> Iterator[Snippet]:
    install = _INSTALL.format(mode=mode, package=quote(f"{server}{static(LITELLM_PACKAGE)}"))
    yield Snippet(f"snippet-{integration}-install", "Install it from this server:", install, "Copy commands")
    yield Snippet(f"snippet-{integration}-config", "Create config.yaml in the current directory:", _CONFIG, "Copy file")
    yield Snippet(f"snippet-{integration}-start", "Start the proxy:", _START, "Copy commands")


def _command_line(server: str, *, has_api: bool) -> Iterator[Snippet]:
    install = f"pip install {quote(f'{server}{static(CLI_PACKAGE)}')}\n"
    yield Snippet("snippet-cli-install", "Install it from this server:", install, "Copy command")
    event = json.dumps({"id": "first-line", **CALL})
    yield Snippet("snippet-cli-send", "Send one event:", _SEND.format(event=event), "Copy commands")
    if has_api:
        yield Snippet("snippet-cli-read", "Read its cost:", _READ, "Copy command")
