"""`costtrack statements list|show|file|focus|corrections|close`: statements of months by time of booking."""

import argparse
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from costtrack.client import numbers
from costtrack.client.call import get, post, print_json, send_request
from costtrack.client.downloads import add_output, safe_name, save
from costtrack.client.errors import ExitCode, WrongArgumentsError
from costtrack.client.options import Subparsers, add_command, add_group
from costtrack.client.sections import Section, describe, field_sections, next_page, page, table

if TYPE_CHECKING:
    from costtrack.client.transport import Answer

_FILTERS = (
    *("client_id", "capability", "model", "user_id", "team", "end_user", "provider", "service", "agent_id"),
    *("environment", "session_id", "run_id", "tool", "tag", "status"),
)
_LINE_COLUMNS = (
    *("section", "corrected_month", "key", "name", "model", "requests", "input_tokens", "cache_read_tokens"),
    *("cache_creation_tokens", "output_tokens", "cost_usd", "unpriced_events"),
)
_FILE_NAME = re.compile(r'filename="([^"]*)"')


def add_to(commands: Subparsers) -> None:
    group = add_group(commands, "statements", "statements of months by time of booking, and closing a month")
    add_command(group, "list", _list, "months with a statement, newest first")

    show = add_command(group, "show", _show, "lines, credits, corrections and the limits' history of a month")
    show.add_argument("--limit", type=int, metavar="N", help="lines of a page (default: 100)")
    show.add_argument("--cursor", metavar="CURSOR", help="the next page")
    file = add_command(group, "file", _file, "write a statement into a file: all lines, or a PDF document")
    file.add_argument("--format", choices=("csv", "json", "parquet", "pdf"), help="default: csv")
    add_output(file)
    for parser in (show, file):
        parser.add_argument("--by", choices=("team", "credential", "end_user", "tag", "user"), help="besides by model")
        for name in _FILTERS:
            parser.add_argument(f"--{name.replace('_', '-')}", metavar="NAME")

    focus = add_command(group, "focus", _focus, "write the charges of a month into a file in the format of FOCUS")
    focus.add_argument("--version", dest="focus_version", choices=("1.2", "1.4"), help="default: 1.2")
    focus.add_argument("--format", choices=("csv", "parquet"), help="default: csv")
    focus.add_argument("--by", choices=("team", "end_user", "tag"), help="what shared cost is split by (default: team)")
    focus.add_argument("--tag-prefix", metavar="PREFIX", help="with --by tag: only tags that begin with this")
    add_output(focus)

    corrections = add_command(group, "corrections", _corrections, "what a statement has of closed months, row by row")
    corrections.add_argument("--limit", type=int, metavar="N", help="rows of a page (default: 100)")
    corrections.add_argument("--cursor", metavar="CURSOR", help="the next page")
    close = add_command(group, "close", _close, "close a month, by an owner or operator; it cannot be opened again")
    for parser in (show, file, focus, corrections, close):
        parser.add_argument("month", metavar="MONTH", help="such as 2026-10")


def _list(options: argparse.Namespace) -> int:
    return get(options, "/usage/statements", lambda data: _results(data, "no months"))


def _show(options: argparse.Namespace) -> int:
    query = {**_parameters(options), "limit": options.limit, "cursor": options.cursor}
    return get(options, _path(options), _statement, query)


def _file(options: argparse.Namespace) -> int:
    if options.json and (options.output or options.force):
        raise WrongArgumentsError("--json prints the response and writes no file: omit --output and --force")
    query = {**_parameters(options), "format": "json" if options.json else options.format}
    given = {name: str(value) for name, value in query.items() if value is not None}
    answer = send_request(options, "GET", f"{_path(options)}/file", query=given)
    if options.json:
        print_json(answer)
        return ExitCode.OK
    return _save(options, answer, f"statement.{options.format or 'csv'}")


def _focus(options: argparse.Namespace) -> int:
    if options.json:
        raise WrongArgumentsError("--json: the file is CSV or Parquet")
    query = {
        "version": options.focus_version,
        "format": options.format,
        "by": options.by,
        "tag_prefix": options.tag_prefix,
    }
    given = {name: value for name, value in query.items() if value is not None}
    answer = send_request(options, "GET", f"{_path(options)}/focus", query=given)
    return _save(options, answer, f"focus.{options.format or 'csv'}")


def _save(options: argparse.Namespace, answer: "Answer", default: str) -> int:
    match = _FILE_NAME.search(answer.header("Content-Disposition"))
    save(options, answer.body, safe_name(match[1] if match else "", default=default))
    return ExitCode.OK


def _corrections(options: argparse.Namespace) -> int:
    query = {"limit": options.limit, "cursor": options.cursor}
    return get(options, f"{_path(options)}/corrections", lambda data: _results(data, "no corrections"), query)


def _close(options: argparse.Namespace) -> int:
    return post(options, f"{_path(options)}/close", "{}", describe)


def _path(options: argparse.Namespace) -> str:
    return f"/usage/statements/{quote(options.month, safe='')}"


def _parameters(options: argparse.Namespace) -> dict[str, str | None]:
    return {name: getattr(options, name) for name in ("by", *_FILTERS)}


def _results(data: Any, nothing: str) -> list[Section]:
    return page(data, nothing=nothing)


def _statement(data: Any) -> list[Section]:
    """Show the lines, then the totals and the history of limits."""
    if not isinstance(data, dict) or not isinstance(data.get("lines"), list):
        return describe(data)
    lines = [_line(row) for row in data["lines"] if isinstance(row, dict)]
    columns = tuple(name for name in _LINE_COLUMNS if any(name in line for line in lines))
    totals = data.get("totals")
    sections = [*describe(data.get("month"), "month"), *table("lines", lines, columns, nothing="nothing is booked")]
    for name, figures in totals.items() if isinstance(totals, dict) else ():
        if isinstance(figures, dict):
            sections += field_sections(name, figures)
        elif figures:
            sections += table(name, figures)
    history = data.get("limits_history")
    sections += table("history of limits", history) if history else []
    return [*sections, *next_page(data)]


def _line(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "key": row["key"] or numbers.NO_NAME} if "key" in row else row
