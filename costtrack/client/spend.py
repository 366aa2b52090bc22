"""`costtrack spend logs|tags|calculate`: document 004."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from costtrack.client import numbers
from costtrack.client.call import get, json_object, post
from costtrack.client.errors import ClientError, WrongArgumentsError
from costtrack.client.options import Subparsers, add_command, add_dates, add_group, file_path
from costtrack.client.sections import Section, describe, table

_LOG_COLUMNS = (
    "startTime",
    "request_id",
    "model",
    "status",
    "user",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "spend",
    "request_tags",
)
_DAY_COLUMNS = ("startTime", "spend", "models", "users")
_TAG_COLUMNS = ("individual_request_tag", "log_count", "total_spend")


def add_to(commands: Subparsers) -> None:
    spend = add_group(commands, "spend", "spend logs, spend by tag, and the cost of a request")

    logs = add_command(spend, "logs", _logs, "requests and their spend, or with both dates the spend of each day")
    logs.add_argument("--request-id", metavar="ID")
    logs.add_argument("--api-key", metavar="KEY", help="the hash or Client ID of a key")
    logs.add_argument("--user-id", metavar="ID")
    add_dates(logs)
    logs.add_argument(
        "--summarize",
        action=argparse.BooleanOptionalAction,
        help="with both dates: add up each day (the server's default), or list the requests",
    )

    tags = add_command(spend, "tags", _tags, "spend by request tag")
    add_dates(tags)

    calculate = add_command(spend, "calculate", _calculate, "cost of a request or of a completion")
    calculate.add_argument("--model", help="estimate the prompt of --message for this model")
    calculate.add_argument("--message", action="append", metavar="TEXT", help="a user's message; may be repeated")
    calculate.add_argument("--body", metavar="JSON", help="the complete request")
    calculate.add_argument("--file", type=file_path, metavar="FILE", help="the request from a JSON file; - is stdin")


def _logs(options: argparse.Namespace) -> int:
    names = ("request_id", "api_key", "user_id", "start_date", "end_date", "summarize")
    return get(options, "/spend/logs", _log_rows, {name: getattr(options, name) for name in names})


def _tags(options: argparse.Namespace) -> int:
    query = {"start_date": options.start_date, "end_date": options.end_date}
    return get(options, "/spend/tags", _tag_rows, query)


def _calculate(options: argparse.Namespace) -> int:
    return post(options, "/spend/calculate", _request(options), describe)


def _request(options: argparse.Namespace) -> str:
    """Return the body from the one way in which it was given."""
    is_prompt = options.model is not None or options.message is not None
    if [is_prompt, options.body is not None, options.file is not None].count(True) != 1:
        raise WrongArgumentsError("use either --model and --message, or --body, or --file")
    if options.body is not None:
        return json_object(options.body, "--body")
    if options.file is not None:
        return json_object(_content(options.file), "--file")
    if options.model is None or options.message is None:
        raise WrongArgumentsError("--model and --message go together")
    messages = [{"role": "user", "content": message} for message in options.message]
    return json.dumps({"model": options.model, "messages": messages})


def _content(path: Path) -> str:
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ClientError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ClientError(f"{path} is not UTF-8 text") from error


def _log_rows(data: Any) -> list[Section]:
    """Requests, or days. A day's object has the hashes of its keys as further fields."""
    if not isinstance(data, list) or not data or not all(isinstance(row, dict) and "models" in row for row in data):
        return table("", data, _LOG_COLUMNS, nothing="no spend")
    maps = ("models", "users")
    days = [{**row, **{name: numbers.text("spend", row.get(name)) for name in maps}} for row in data]
    return table("", days, _DAY_COLUMNS)


def _tag_rows(data: Any) -> list[Section]:
    return table("", data, _TAG_COLUMNS, nothing="no tags")
