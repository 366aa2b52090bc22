"""`costtrack system pricing|groups|export|refresh`: document 000. Each is a POST with a JSON object."""

import argparse
import base64
import binascii
from typing import Any

from costtrack.client.call import json_object, post, print_json, send_request
from costtrack.client.downloads import add_output, safe_name, save
from costtrack.client.errors import ClientError, ExitCode, WrongArgumentsError
from costtrack.client.options import Subparsers, add_command, add_group
from costtrack.client.sections import Section, describe, note, table

_GROUP_COLUMNS = (
    "group_key",
    "group_name",
    "last_run_at",
    "run_count",
    "total_tokens",
    "total_cost",
    "model_names",
)


def add_to(commands: Subparsers) -> None:
    system = add_group(commands, "system", "costs by day and model, generation groups, and their export")
    pricing = add_command(system, "pricing", _pricing, "costs by day and model")
    groups = add_command(system, "groups", _groups, "generation groups, a page at a time")
    export = add_command(system, "export", _export, "write all runs into a ZIP file")
    refresh = add_command(system, "refresh", _refresh, "drop cached responses")
    for parser in (pricing, groups, export, refresh):
        parser.add_argument("--body", default="{}", metavar="JSON", help="the request (default: %(default)s)")
    pricing.epilog = """example: costtrack system pricing --body '{"start_date": "2026-11-01", "model_ids": []}'"""
    groups.epilog = """example: costtrack system groups --body '{"page": 1, "page_size": 25, "sort_order": "desc"}'"""
    add_output(export)


def _pricing(options: argparse.Namespace) -> int:
    return post(options, "/system/pricing", json_object(options.body, "--body"), _daily)


def _groups(options: argparse.Namespace) -> int:
    return post(options, "/system/groups", json_object(options.body, "--body"), _page)


def _refresh(options: argparse.Namespace) -> int:
    return post(options, "/system/refresh", json_object(options.body, "--body"), describe)


def _export(options: argparse.Namespace) -> int:
    if options.json and (options.output or options.force):
        raise WrongArgumentsError("--json prints the response and writes no file: omit --output and --force")
    answer = send_request(options, "POST", "/system/export", body=json_object(options.body, "--body"))
    if options.json:
        print_json(answer)
        return ExitCode.OK
    data = answer.data()
    content = _content(data)
    name = safe_name(data.get("file_name"), default="pricing_export.zip")
    save(options, content, name, about=f"{data.get('row_count', '?')} rows")
    return ExitCode.OK


def _daily(data: Any) -> list[Section]:
    if not isinstance(data, dict) or not isinstance(data.get("daily"), list):
        return describe(data)
    names = _names(data)
    rows = [
        {
            "day": row.get("date_key"),
            "model": names.get(str(row.get("model_id")), row.get("model_id")),
            "runs": row.get("run_count"),
            "cost": row.get("total_cost"),
        }
        for row in data["daily"]
        if isinstance(row, dict)
    ]
    return [*table("", rows, nothing="no runs"), *note(f"{data.get('total_count', len(rows))} runs")]


def _names(data: dict[str, Any]) -> dict[str, Any]:
    """Return the names of the models by their ids."""
    resources = data.get("resources")
    models = resources.get("models") if isinstance(resources, dict) else None
    pairs = models.items() if isinstance(models, dict) else ()
    return {key: model["name"] for key, model in pairs if isinstance(model, dict) and model.get("name")}


def _page(data: Any) -> list[Section]:
    if not isinstance(data, dict) or "data" not in data:
        return describe(data)
    summary = f"page {data.get('page', '?')} of {data.get('total_pages', '?')}, {data.get('total_count', '?')} groups"
    return [*table("", data["data"], _GROUP_COLUMNS, nothing="no groups"), *note(summary)]


def _content(data: Any) -> bytes:
    try:
        return base64.b64decode(data["content"], validate=True)
    except (binascii.Error, KeyError, TypeError, ValueError) as error:
        raise ClientError("the response contains no file") from error
