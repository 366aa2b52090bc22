"""`costtrack usage summary|timeseries|breakdown|forecast|anomalies|runs`: document 001, dashboard figures, forecasts,
unusual spend and runs."""

import argparse
from typing import Any

from costtrack.client import numbers
from costtrack.client.call import get
from costtrack.client.options import Subparsers, add_command, add_dates, add_group
from costtrack.client.sections import Section, describe, note, page, table

FILTERS = (
    *(
        "client_id",
        "status",
        "capability",
        "model",
        "user_id",
        "team",
        "end_user",
        "provider",
        "service",
        "agent_id",
        "environment",
    ),
    *("workflow_id", "session_id", "run_id", "tool", "tag"),
)
"""What usage is filtered by, as the parameters of the API."""
_DIMENSIONS = (
    *("model", "capability", "credential", "credential_name", "status", "user", "team", "end_user", "provider"),
    *("service", "agent", "environment", "workflow", "session", "run", "tool", "tag"),
)


def add_to(commands: Subparsers) -> None:
    usage = add_group(commands, "usage", "requests, tokens and cost of a time range")
    summary = add_command(usage, "summary", _summary, "totals of a time range, and current spend")
    timeseries = add_command(usage, "timeseries", _timeseries, "requests, tokens or cost by hour, day, week or month")
    breakdown = add_command(usage, "breakdown", _breakdown, "usage by user, team, model or any other dimension")
    for parser in (summary, timeseries, breakdown):
        parser.add_argument("--range", metavar="NAME", help="day, week, month, 7d, 30d, ...; custom: the given dates")
        add_dates(parser)
        add_filters(parser)
    timeseries.add_argument("--view", choices=("requests", "tokens", "cost"))
    for parser in (timeseries, breakdown):
        parser.add_argument("--granularity", choices=("hour", "day", "week", "month"))
    timeseries.add_argument("--group-by", metavar="NAME", help="a line for each: model, capability, ...")
    breakdown.add_argument("--group-by", metavar="NAME[,NAME]", required=True, help="one or two: user, model, tag, ...")
    breakdown.add_argument("--compare", action="store_true", default=None, help="also the cost of the time before")
    breakdown.add_argument("--search", metavar="TEXT", help="only rows with this text")
    breakdown.add_argument("--sort-by", metavar="NAME", help="name, requests, total_tokens, change_usd, ...")
    breakdown.add_argument("--sort-order", choices=("asc", "desc"))
    breakdown.add_argument("--limit", type=int, metavar="N", help="rows of a page (default: 100)")
    breakdown.add_argument("--cursor", metavar="CURSOR", help="the next page")

    forecast = add_command(usage, "forecast", _forecast, "what today, this week and this month will have cost")
    forecast.add_argument("--by", choices=("team", "credential"), help="default: the organization")

    anomalies = add_command(usage, "anomalies", _anomalies, "hours and days with unusual spend, the latest first")
    add_dates(anomalies)
    anomalies.add_argument("--by", choices=("organization", "credential", "user", "team", "model"))
    anomalies.add_argument("--key", metavar="NAME", help="only of this value of --by; of credentials the Client ID")
    anomalies.add_argument("--direction", choices=("rise", "drop"))
    anomalies.add_argument("--state", choices=("open", "closed"))
    anomalies.add_argument("--limit", type=int, metavar="N", help="1 to 200 (default: 50)")
    anomalies.add_argument("--cursor", metavar="CURSOR", help="the next page")

    runs = add_command(usage, "runs", _runs, "workflow runs with their costs, newest first")
    add_dates(runs)
    runs.add_argument("--workflow-id", metavar="ID", help="only runs of this workflow")
    runs.add_argument("--parent-run-id", metavar="ID", help="only the direct children of this run")
    runs.add_argument("--roots", action="store_true", help="only runs without a parent")
    runs.add_argument("--limit", type=int, metavar="N", help="1 to 200 (default: 50)")
    runs.add_argument("--cursor", metavar="CURSOR", help="the next page")


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


def _breakdown(options: argparse.Namespace) -> int:
    names = ("group_by", "granularity", "compare", "search", "sort_by", "sort_order", "limit", "cursor")
    query = {**_filters(options), **{name: getattr(options, name) for name in names}}
    return get(options, "/usage/breakdown", _rows, query)


def _forecast(options: argparse.Namespace) -> int:
    return get(options, "/usage/forecast", _forecasts, {"by": options.by})


def _anomalies(options: argparse.Namespace) -> int:
    names = ("start_date", "end_date", "by", "key", "direction", "state", "limit", "cursor")
    return get(options, "/usage/anomalies", _anomaly_list, {name: getattr(options, name) for name in names})


def _runs(options: argparse.Namespace) -> int:
    names = ("start_date", "end_date", "workflow_id", "parent_run_id", "limit", "cursor")
    query = {name: getattr(options, name) for name in names}
    return get(options, "/usage/runs", _run_list, {**query, "is_root": options.roots or None})


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add an option for each of `FILTERS`."""
    metavars = {"client_id": "ID", "status": "success|failure"}
    for name in FILTERS:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar=metavars.get(name, "NAME"))


def _filters(options: argparse.Namespace) -> dict[str, str | None]:
    names = ("range", "start_date", "end_date", *FILTERS)
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


def _rows(data: Any) -> list[Section]:
    """Show the rows of a breakdown, then its total, and how to get the next page."""
    return page(data, _flat, nothing="no usage")


def _forecasts(data: Any) -> list[Section]:
    """Show each period of each series as a row."""
    if not isinstance(data, dict) or not isinstance(data.get("results"), list):
        return describe(data)
    rows = [
        {**({"name": series.get("name"), "key": series.get("key")} if data.get("by") else {}), **period}
        for series in data["results"]
        if isinstance(series, dict) and isinstance(series.get("periods"), list)
        for period in series["periods"]
        if isinstance(period, dict)
    ]
    has_gaps = any(row.get("expected_usd") is None for row in rows)
    return [
        *table("", rows, nothing="no forecasts yet"),
        *(note("Not enough history: less than a week.") if has_gaps else []),
    ]


def _anomaly_list(data: Any) -> list[Section]:
    return page(data, _anomaly, nothing="no unusual spend")


def _anomaly(row: dict[str, Any]) -> dict[str, Any]:
    """An anomaly, with what most of the difference is due to."""
    names = ("id", "direction", "start", "end", "by", "key", "unit", "window_start", "spent_usd", "expected_usd")
    return {**{name: row.get(name) for name in names}, "due_to": _due_to(row.get("explained_by"))}


def _due_to(causes: Any) -> str:
    listed = [cause for cause in causes if isinstance(cause, dict)] if isinstance(causes, list) else []
    return ", ".join(f"{cause.get('by')} {cause.get('key')} {cause.get('usd')}" for cause in listed)


def _run_list(data: Any) -> list[Section]:
    return page(data, _run, nothing="no runs")


def _run(row: dict[str, Any]) -> dict[str, Any]:
    """A run with its requests, tokens and cost, and the cost with its descendants."""
    own, total = (figures if isinstance(figures, dict) else {} for figures in (row.get("own"), row.get("total")))
    names = ("run_id", "parent_run_id", "workflow_id", "first_event_at", "last_event_at", "descendants")
    return {**{name: row.get(name) for name in names}, **own, "total_cost_usd": total.get("cost_usd")}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its dimensions first, the cost of the time before, and the cost of each period as a column."""
    dimensions = {name: row[name] or numbers.NO_NAME for name in _DIMENSIONS if name in row}
    figures = {name: value for name, value in row.items() if not isinstance(value, dict | list)}
    previous, periods = row.get("previous"), row.get("periods")
    flat = {**dimensions, **figures, **dimensions}
    if isinstance(previous, dict):
        flat["previous_cost_usd"] = previous.get("cost_usd")
    for period in periods if isinstance(periods, list) else []:
        if isinstance(period, dict):
            flat[f"{period.get('start')} cost_usd"] = period.get("cost_usd")
    return flat


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """One line of a grouped series, as its name and its totals."""
    total = row.get("total")
    return {"name": row.get("name"), **(total if isinstance(total, dict) else {})}


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}
