"""`costtrack exports list|create|show|download|cancel|delete`: files of any table, created in the background."""

import argparse
import json
from typing import Any

from costtrack.client.call import get, organization_path, post, send_request
from costtrack.client.downloads import add_output, safe_name, save
from costtrack.client.errors import ExitCode, WrongArgumentsError
from costtrack.client.options import Subparsers, add_command, add_group
from costtrack.client.sections import Section, describe, table
from costtrack.client.terminal import say

_COLUMNS = (
    *("id", "state", "title", "format", "rows", "total_rows", "requested_by", "created_at", "expires_at", "error"),
)
_FORMATS = ("csv", "parquet", "json")


def add_to(commands: Subparsers) -> None:
    group = add_group(commands, "exports", "files of any table, created in the background")
    add_command(group, "list", _list, "files, newest first")

    new = add_command(group, "create", _create, "create a file of a table")
    new.add_argument("table", metavar="TABLE", help="requests, days, breakdown, runs, sessions, limits, audit-log, ...")
    new.add_argument("--format", choices=_FORMATS, default="csv", help="default: %(default)s")
    new.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="a filter; may be repeated")

    download = add_command(group, "download", _download, "write a file that is ready")
    download.add_argument("--format", choices=_FORMATS, help="default: that of the request for the file")
    add_output(download)

    shown = add_command(group, "show", _show, "one file and its progress")
    cancel = add_command(group, "cancel", _cancel, "cancel a file that is not ready yet")
    delete = add_command(group, "delete", _delete, "delete a file before it expires")
    for parser in (shown, download, cancel, delete):
        parser.add_argument("id", type=int)


def _list(options: argparse.Namespace) -> int:
    return get(options, organization_path(options, "/exports"), _exports, {"page_size": 100})


def _create(options: argparse.Namespace) -> int:
    parameters = dict(_parameter(text) for text in options.parameter)
    body = {"table": options.table, "format": options.format, "parameters": parameters}
    return post(options, organization_path(options, "/exports"), json.dumps(body), describe)


def _parameter(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise WrongArgumentsError(f"--parameter must be NAME=VALUE: {text}")
    return name, value


def _show(options: argparse.Namespace) -> int:
    return get(options, organization_path(options, f"/exports/{options.id}"), describe)


def _cancel(options: argparse.Namespace) -> int:
    return post(options, organization_path(options, f"/exports/{options.id}/cancel"), "{}", describe)


def _delete(options: argparse.Namespace) -> int:
    send_request(options, "DELETE", organization_path(options, f"/exports/{options.id}"))
    say(f"export {options.id} is deleted")
    return ExitCode.OK


def _download(options: argparse.Namespace) -> int:
    query = {"format": options.format} if options.format else None
    answer = send_request(options, "GET", organization_path(options, f"/exports/{options.id}/file"), query=query)
    name = answer.header("Content-Disposition").partition('filename="')[2].rstrip('"')
    save(options, answer.body, safe_name(name, default=f"export-{options.id}"), about=f"{len(answer.body):,} bytes")
    return ExitCode.OK


def _exports(data: Any) -> list[Section]:
    return table("", data.get("results") if isinstance(data, dict) else data, _COLUMNS, nothing="no exports")
