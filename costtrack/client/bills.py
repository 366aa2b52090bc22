"""`costtrack bills import|report|imports|keys|assign-key|remove-key|connections|connect|fetch|disconnect`: bills of
providers, compared with the ledger."""

import argparse
import getpass
import json
import sys
from collections.abc import Sequence
from typing import Any

from costtrack.client.call import get, post, send_request
from costtrack.client.errors import ExitCode, WrongArgumentsError
from costtrack.client.options import Subparsers, add_command, add_dates, add_group, file_path
from costtrack.client.sections import Section, describe, field_sections, next_page, page, table
from costtrack.client.terminal import say

_DAY_COLUMNS = ("provider", "day", "is_closed", "bill_usd", "ledger_usd", "bill_tokens", "ledger_tokens", "coverage")
_ROW_COLUMNS = ("provider", "day", "key", "model", "bill_usd", "ledger_usd", "difference_usd", "causes")
_CONNECTION_COLUMNS = ("id", "provider", "account", "state", "error", "fetched_at", "next_fetch_at")
_CONNECTIONS = "/usage/provider-bills/connections"
_TOTALS = ("start_date", "end_date", "bill_usd", "ledger_usd", "difference_usd", "coverage")


def add_to(commands: Subparsers) -> None:
    group = add_group(commands, "bills", "bills of providers, compared with the ledger")
    new = add_command(group, "import", _import, "import a report of costs or usage")
    about = "a report of OpenAI or Anthropic, OpenRouter's activity, or another CSV; - is stdin"
    new.add_argument("file", type=file_path, metavar="FILE", help=about)
    new.add_argument("--provider", metavar="NAME", help="for a CSV of another provider")
    new.add_argument("--account", metavar="NAME", help="if you have several accounts of the provider")
    new.add_argument("--fetched-at", metavar="TIME", help="when the file was downloaded (default: now)")
    new.add_argument("--map", action="append", default=[], metavar="COLUMN=FIELD", help="a column of a CSV")

    report = add_command(group, "report", _report, "differences between bills and the ledger, and their causes")
    report.add_argument("--provider", metavar="NAME", help="only this provider")
    add_dates(report)
    imports = add_command(group, "imports", _imports, "imported files, newest first")
    for parser in (report, imports):
        parser.add_argument("--limit", type=int, metavar="N", help="rows of a page (default: 50)")
        parser.add_argument("--cursor", metavar="CURSOR", help="the next page")

    add_command(group, "keys", _keys, "keys of providers that are assigned")
    key = add_command(group, "assign-key", _assign, "compare a key with the calls of one credential")
    key.add_argument("key", metavar="KEY", help="as the provider's report names it")
    key.add_argument("--provider", required=True, metavar="NAME")
    whose = key.add_mutually_exclusive_group(required=True)
    whose.add_argument("--client-id", metavar="ID")
    whose.add_argument("--foreign", action="store_true", help="the key is not the organization's")
    removed = add_command(group, "remove-key", _remove, "delete the assignment of a key")
    removed.add_argument("id", type=int, metavar="ID", help="as `keys` lists it")

    add_command(group, "connections", _connections, "accounts of providers whose bills are fetched each night")
    connect = add_command(group, "connect", _connect, "fetch the bills of an account, or replace its key")
    connect.add_argument("provider", choices=("openai", "anthropic", "openrouter"))
    connect.add_argument("--account", metavar="NAME", help="if you have several accounts of the provider")
    connect.description = "The admin key is prompted for. If stdin is not a terminal, it is its first line."
    for name, run, about in (
        ("fetch", _fetch, "fetch the bills of an account now"),
        ("disconnect", _disconnect, "delete a connection with its key; fetched bills stay"),
    ):
        add_command(group, name, run, about).add_argument(
            "id", type=int, metavar="ID", help="as `connections` lists it"
        )


def _import(options: argparse.Namespace) -> int:
    columns = dict(text.split("=", 1) for text in options.map if "=" in text)
    if len(columns) != len(options.map):
        raise WrongArgumentsError("--map: use COLUMN=FIELD")
    is_stdin = str(options.file) == "-"
    try:
        raw = sys.stdin.buffer.read() if is_stdin else options.file.read_bytes()
        content = raw.decode("utf-8-sig")
    except OSError as error:
        raise WrongArgumentsError(f"{options.file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise WrongArgumentsError(f"{options.file}: is not UTF-8 text") from error
    given = {
        "content": content,
        "file_name": None if is_stdin else options.file.name,
        **{name: getattr(options, name) for name in ("provider", "account", "fetched_at")},
        "columns": columns or None,
    }
    body = {name: value for name, value in given.items() if value is not None}
    return post(options, "/usage/provider-bills", json.dumps(body), describe)


def _report(options: argparse.Namespace) -> int:
    names = ("provider", "start_date", "end_date", "limit", "cursor")
    query = {name: getattr(options, name) for name in names}
    return get(options, "/usage/provider-bills", _comparison, query)


def _imports(options: argparse.Namespace) -> int:
    query = {"limit": options.limit, "cursor": options.cursor}
    return get(options, "/usage/provider-bills/imports", lambda data: _results(data, "no imports"), query)


def _keys(options: argparse.Namespace) -> int:
    return get(options, "/usage/provider-bills/keys", lambda data: _results(data, "no keys"))


def _assign(options: argparse.Namespace) -> int:
    body = {"provider": options.provider, "key": options.key, "client_id": options.client_id}
    return post(options, "/usage/provider-bills/keys", json.dumps(body), describe)


def _remove(options: argparse.Namespace) -> int:
    send_request(options, "DELETE", f"/usage/provider-bills/keys/{options.id}")
    say(f"the assignment {options.id} is deleted")
    return ExitCode.OK


def _connections(options: argparse.Namespace) -> int:
    return get(options, _CONNECTIONS, lambda data: _results(data, "no connections", _CONNECTION_COLUMNS))


def _connect(options: argparse.Namespace) -> int:
    key = getpass.getpass("Admin key (hidden): ") if sys.stdin.isatty() else sys.stdin.readline()
    body = {"provider": options.provider, "account": options.account or "", "key": key.strip()}
    return post(options, _CONNECTIONS, json.dumps(body), describe)


def _fetch(options: argparse.Namespace) -> int:
    return post(options, f"{_CONNECTIONS}/{options.id}/fetch", "{}", describe)


def _disconnect(options: argparse.Namespace) -> int:
    send_request(options, "DELETE", f"{_CONNECTIONS}/{options.id}")
    say(f"the connection {options.id} is deleted")
    return ExitCode.OK


def _results(data: Any, nothing: str, columns: Sequence[str] = ()) -> list[Section]:
    return page(data, columns=columns, nothing=nothing)


def _comparison(data: Any) -> list[Section]:
    """Show the totals with their causes, the days, and the differences."""
    if not isinstance(data, dict) or not isinstance(data.get("results"), list):
        return describe(data)
    rows = [{**row, "causes": _causes(row.get("parts"))} for row in data["results"] if isinstance(row, dict)]
    totals = {**{name: data.get(name) for name in _TOTALS}, "causes": _causes(data.get("parts"))}
    return [
        *field_sections("", totals),
        *table("days", data.get("days"), _DAY_COLUMNS, nothing="no days: import a bill"),
        *table("differences", rows, _ROW_COLUMNS, nothing="no differences"),
        *next_page(data),
    ]


def _causes(parts: Any) -> str:
    found = parts if isinstance(parts, list) else []
    return ", ".join(f"{part.get('cause')} {part.get('amount_usd')}" for part in found if isinstance(part, dict))
