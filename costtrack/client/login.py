"""`costtrack login`: verify and store an API key."""

import argparse
import getpass
import sys
from typing import Any

from costtrack.client import logins
from costtrack.client.errors import ClientError, ExitCode, WrongArgumentsError, refusal
from costtrack.client.instance import (
    URL_VARIABLES,
    Instance,
    checked_token,
    checked_url,
    from_environment,
    warn_of_plain_http,
)
from costtrack.client.options import Subparsers, add_where
from costtrack.client.terminal import say

# A cheap request that every server has. A key that may only send usage gets a missing_scope error, but is valid too.
_CHECK = "/usage/events"


def add_to(commands: Subparsers) -> None:
    about = "verify and store an API key for later commands"
    description = "Verify and store an API key. If stdin is not a terminal, the key is its first line."
    parser = commands.add_parser("login", help=about, description=description, allow_abbrev=False)
    add_where(parser)
    parser.set_defaults(run=_login)


def _login(options: argparse.Namespace) -> int:
    url = checked_url(options.url or from_environment(URL_VARIABLES) or _prompt_for_url())
    warn_of_plain_http(url)
    token = checked_token(options.token or _prompt_for_key())
    _check(Instance(url, token, options.organization), options.timeout)
    logins.remember(url, token)
    say(f"The key works. It is stored in {logins.file()} for {url}.")
    return ExitCode.OK


def _prompt_for_url() -> str:
    if not sys.stdin.isatty():
        raise WrongArgumentsError("no server: use --url https://spend.example")
    sys.stderr.write("Server URL: ")
    sys.stderr.flush()
    return sys.stdin.readline()


def _prompt_for_key() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("API key (hidden): ")
    return sys.stdin.readline()


def _check(instance: Instance, timeout: float) -> None:
    from costtrack.client.transport import Transport

    with Transport(instance, timeout=timeout) as transport:
        answer = transport.request("GET", _CHECK, query={"limit": "1"})
    body = answer.data_or_none()
    if not (answer.is_good or _is_a_good_key(answer.status, body)):
        raise refusal(answer.status, body)
    if not isinstance(body, dict):
        raise ClientError(f"{instance.url} does not respond like a costtrack server")


def _is_a_good_key(status: int, body: Any) -> bool:
    """Whether the error shows a valid key: without read access, without an API plan, or of several organizations."""
    code = body.get("code") if isinstance(body, dict) else None
    fields = body.get("fields") if isinstance(body, dict) else None
    must_choose = status == 422 and isinstance(fields, dict) and "organization" in fields  # noqa: PLR2004 - HTTP's
    return must_choose or (status == 403 and code in ("missing_scope", "plan_without_api"))  # noqa: PLR2004 - HTTP's
