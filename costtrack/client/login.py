"""`costtrack login`: try an API key and keep it."""

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

# Cheap, and there on every server. A key that only sends usage is told that it lacks a scope: it is a good key, too.
_CHECK = "/usage/events"


def add_to(commands: Subparsers) -> None:
    about = "check an API key and keep it for the next commands"
    description = "Check an API key and keep it. Where stdin is no terminal, the key is its first line."
    parser = commands.add_parser("login", help=about, description=description, allow_abbrev=False)
    add_where(parser)
    parser.set_defaults(run=_login)


def _login(options: argparse.Namespace) -> int:
    url = checked_url(options.url or from_environment(URL_VARIABLES) or _ask_for_address())
    warn_of_plain_http(url)
    token = checked_token(options.token or _ask_for_key())
    _check(Instance(url, token, options.organization), options.timeout)
    logins.remember(url, token)
    say(f"The key works. It is kept in {logins.file()} for {url}.")
    return ExitCode.OK


def _ask_for_address() -> str:
    if not sys.stdin.isatty():
        raise WrongArgumentsError("say which server: --url https://spend.example")
    sys.stderr.write("Address of the server: ")
    sys.stderr.flush()
    return sys.stdin.readline()


def _ask_for_key() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("API key (it is not shown): ")
    return sys.stdin.readline()


def _check(instance: Instance, timeout: float) -> None:
    from costtrack.client.transport import Transport

    with Transport(instance, timeout=timeout) as transport:
        answer = transport.request("GET", _CHECK, query={"limit": "1"})
    body = answer.data_or_none()
    if not (answer.is_good or _is_a_good_key(answer.status, body)):
        raise refusal(answer.status, body)
    if not isinstance(body, dict):
        raise ClientError(f"{instance.url} does not answer like a costtrack server")


def _is_a_good_key(status: int, body: Any) -> bool:
    """A key without the right to read, without a plan, or one that reaches several organizations."""
    code = body.get("code") if isinstance(body, dict) else None
    fields = body.get("fields") if isinstance(body, dict) else None
    must_choose = status == 422 and isinstance(fields, dict) and "organization" in fields  # noqa: PLR2004 - HTTP's
    return must_choose or (status == 403 and code in ("missing_scope", "plan_without_api"))  # noqa: PLR2004 - HTTP's
