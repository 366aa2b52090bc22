"""Commands with one request: send it, and print the response as tables or JSON."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from costtrack.client.errors import ExitCode, WrongArgumentsError, refusal
from costtrack.client.instance import find_instance
from costtrack.client.sections import Section

if TYPE_CHECKING:
    from costtrack.client.transport import Answer

View = Callable[[Any], list[Section]]
"""Renders the data of a response. It must accept any JSON, because the server may add or omit fields."""


Query = Mapping[str, str | int | bool | None]


def get(options: argparse.Namespace, path: str, view: View, query: Query | None = None) -> int:
    """Send a `GET` with the query parameters that are not None, and show the response."""
    parameters = {name: _spelled(value) for name, value in (query or {}).items() if value is not None}
    return show(options, send_request(options, "GET", path, query=parameters), view)


def post(options: argparse.Namespace, path: str, body: str, view: View) -> int:
    """`POST` a JSON text unchanged, and show the response."""
    return show(options, send_request(options, "POST", path, body=body), view)


def send_request(
    options: argparse.Namespace,
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: str | None = None,
) -> "Answer":
    """Send one request. Raises ClientError if the server refuses it."""
    from costtrack.client.transport import Transport

    headers = {"Content-Type": "application/json"} if body is not None else {}
    with Transport(find_instance(options), timeout=options.timeout) as transport:
        answer = transport.request(
            method, path, query=query, body=body.encode() if body is not None else None, headers=headers
        )
    if options.show_headers:
        show_headers(answer)
    if not answer.is_good:
        raise refusal(answer.status, answer.data_or_none())
    return answer


def organization_path(options: argparse.Namespace, path: str) -> str:
    """Return the path of a resource of an organization: the one of `--organization`, or the key's only one.

    The path then replaces the parameter. Raises ClientError if the key is one of several organizations.
    """
    slug = options.organization or _own_organization(options)
    options.organization = None
    return f"/organizations/{quote(slug, safe='')}{path}"


def _own_organization(options: argparse.Namespace) -> str:
    data = send_request(options, "GET", "/organizations").data()
    rows = data.get("results") if isinstance(data, dict) else None
    slugs = [str(row.get("slug", "")) for row in rows or [] if isinstance(row, dict)]
    if len(slugs) != 1:
        raise WrongArgumentsError("choose the organization with --organization SLUG")
    return slugs[0]


def show(options: argparse.Namespace, answer: "Answer", view: View) -> int:
    if options.json:
        print_json(answer)
    else:
        from costtrack.client.rendering import render

        render([*view(answer.data()), *_notes(answer)])
    return ExitCode.OK


def print_json(answer: "Answer") -> None:
    """Print the body byte for byte, on its own line."""
    answer.data()  # report an error instead of printing a proxy's HTML page
    sys.stdout.flush()
    sys.stdout.buffer.write(answer.body.rstrip(b"\n") + b"\n")


def show_headers(answer: "Answer") -> None:
    from costtrack.client.terminal import printable

    lines = [f"HTTP {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in answer.headers), ""]
    sys.stderr.writelines(f"{printable(line)}\n" for line in lines)


def json_object(text: str, option: str) -> str:
    """Return the text unchanged if it is a JSON object."""
    try:
        value = json.loads(text)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise WrongArgumentsError(f"Invalid JSON for {option}: {error}") from error
    if not isinstance(value, dict):
        raise WrongArgumentsError(f"Invalid JSON for {option}: it is not an object")
    return text


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _notes(answer: "Answer") -> list[Section]:
    unpriced = answer.header("X-Costtrack-Unpriced-Events")
    if not unpriced.isdecimal() or int(unpriced) == 0:
        return []
    count = int(unpriced)
    text = "1 event has no price yet and is" if count == 1 else f"{count:,} events have no price yet and are"
    return [Section(note=f"{text} not included.")]
