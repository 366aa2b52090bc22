"""`costtrack usage summary|timeseries`: document 001, the figures of the dashboard."""

import argparse
from typing import Any

from costtrack.client.call import get
from costtrack.client.options import Subparsers, add_command, add_dates, add_group
from costtrack.client.sections import Section, describe, table


def add_to(commands: Subparsers) -> None:
    usage = add_group(commands, "usage", "requests, tokens and cost of a time range")
    summary = add_command(usage, "summary", _summary, "totals of a time range, and current spend")
    timeseries = add_command(usage, "timeseries", _timeseries, "requests, tokens or cost by hour, day, week or month")
    for parser in (summary, timeseries):
        parser.add_argument("--range", metavar="NAME", help="day, week, month, 7d, 30d, ...; custom: the given dates")
        add_dates(parser)
        parser.add_argument("--client-id", metavar="ID", help="only of this credential")
        parser.add_argument("--capability", metavar="NAME")
        parser.add_argument("--model", metavar="NAME")
        parser.add_argument("--status", metavar="success|failure")
    timeseries.add_argument("--view", choices=("requests", "tokens", "cost"))
    timeseries.add_argument("--granularity", choices=("hour", "day", "week", "month"))
    timeseries.add_argument("--group-by", metavar="NAME", help="a line for each: model, capability, ...")


def _summary(options: argparse.Namespace) -> int:
    return get(options, "/usage/summary", describe, _filters(options))


def _timeseries(options: argparse.Namespace) -> int:
    query = {
        **_filters(options),
        "view": options.view,
        "granularity": options.granularity,
        "group_by": options.group_by,
    }
    return get(options, "/usage/timeseries", _buckets, query)


def _filters(options: argparse.Namespace) -> dict[str, str | None]:
    names = ("range", "start_date", "end_date", "client_id", "capability", "model", "status")
    return {name: getattr(options, name) for name in names}


def _buckets(data: Any) -> list[Section]:
    """Show the metadata of the series, its buckets, and the totals of its lines."""
    if not isinstance(data, dict) or not isinstance(data.get("buckets"), list):
        return describe(data)
    about = {name: value for name, value in data.items() if name not in ("buckets", "series")}
    buckets = [_without(row, "end") for row in data["buckets"] if isinstance(row, dict)]
    lines = [_line(row) for row in data.get("series") or [] if isinstance(row, dict)]
    by_line = table(f"by {data.get('group_by')}", lines) if lines else []
    return [*describe(about), *table("", buckets, nothing="no buckets"), *by_line]


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """One line of a grouped series, as its name and its totals."""
    total = row.get("total")
    return {"name": row.get("name"), **(total if isinstance(total, dict) else {})}


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}
