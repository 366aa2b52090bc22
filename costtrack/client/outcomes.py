"""`costtrack outcomes list|add|costs`: what runs and sessions have achieved, and what a success costs."""

import argparse
import json
from typing import Any

from costtrack.client import numbers
from costtrack.client.call import get, post
from costtrack.client.options import Subparsers, add_command, add_dates, add_group
from costtrack.client.sections import Section, describe, page

_COLUMNS = ("run_id", "session_id", "name", "success", "value_usd", "attempt", "occurred_at", "id")
_GROUPS = (
    *("workflow", "agent", "model", "team", "capability", "credential", "user", "end_user", "provider", "service"),
    "environment",
)
_STATES = ("succeeded", "failed", "abandoned", "open", "untracked", "other", "retries")


def add_to(commands: Subparsers) -> None:
    group = add_group(commands, "outcomes", "what runs and sessions have achieved, and what a success costs")

    listed = add_command(group, "list", _list, "outcomes, the last stored first")
    add_dates(listed)
    for name in ("name", "run_id", "session_id"):
        listed.add_argument(f"--{name.replace('_', '-')}", metavar="NAME")
    listed.add_argument("--success", choices=("true", "false"))
    listed.add_argument("--limit", type=int, metavar="N", help="1 to 200 (default: 50)")
    listed.add_argument("--cursor", metavar="CURSOR", help="the next page")

    new = add_command(group, "add", _add, "report what a run or a session has achieved")
    new.add_argument("--name", required=True, metavar="NAME", help="for example ticket_resolved")
    new.add_argument("--run-id", metavar="ID")
    new.add_argument("--session-id", metavar="ID")
    new.add_argument("--failed", action="store_true", help="it is no success")
    new.add_argument("--value", metavar="AMOUNT", help="US dollars that a success is worth")
    new.add_argument("--attempt", type=int, metavar="N", help="2 or more: it is a retry")
    new.add_argument("--occurred-at", metavar="TIME", help="default: now")
    new.add_argument("--id", metavar="ID", help="your id of the outcome")

    costs = add_command(group, "costs", _costs, "the cost per success, and of failures, retries and abandoned runs")
    costs.add_argument("--range", metavar="NAME", help="day, week, month, 7d, 30d, ...; custom: the given dates")
    add_dates(costs)
    costs.add_argument("--group-by", choices=_GROUPS, help="default: workflow")
    costs.add_argument("--outcome", metavar="NAME", help="only outcomes of this name count")
    costs.add_argument("--limit", type=int, metavar="N", help="rows of a page (default: 100)")
    costs.add_argument("--cursor", metavar="CURSOR", help="the next page")


def _list(options: argparse.Namespace) -> int:
    names = ("start_date", "end_date", "name", "run_id", "session_id", "success", "limit", "cursor")
    return get(options, "/usage/outcomes", _outcomes, {name: getattr(options, name) for name in names})


def _add(options: argparse.Namespace) -> int:
    names = ("name", "run_id", "session_id", "attempt", "occurred_at", "id")
    given = {**{name: getattr(options, name) for name in names}, "value_usd": options.value}
    body = {name: value for name, value in given.items() if value is not None}
    return post(options, "/usage/outcomes", json.dumps({**body, "success": not options.failed}), describe)


def _costs(options: argparse.Namespace) -> int:
    names = ("range", "start_date", "end_date", "group_by", "outcome", "limit", "cursor")
    return get(options, "/usage/outcomes/costs", _groups, {name: getattr(options, name) for name in names})


def _outcomes(data: Any) -> list[Section]:
    return page(data, columns=_COLUMNS, nothing="no outcomes")


def _groups(data: Any) -> list[Section]:
    return page(data, _flat, nothing="no usage")


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its dimension first, and the count and the cost of each state as columns."""
    flat = {name: row[name] or numbers.NO_NAME for name in _GROUPS if name in row}
    for name in ("success_rate", "cost_per_success_usd", "cost_usd", "value_usd"):
        flat[name] = row.get(name)
    for name in _STATES:
        work = row.get(name)
        if isinstance(work, dict):
            flat[name], flat[f"{name}_cost_usd"] = work.get("count"), work.get("cost_usd")
    return flat
