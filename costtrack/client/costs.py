"""`costtrack costs ...`: documents 002 (runs) and 003 (sessions, executions, summary)."""

import argparse
from typing import Any
from urllib.parse import quote

from costtrack.client.call import get
from costtrack.client.options import Subparsers, add_command, add_dates, add_group, identifier
from costtrack.client.sections import Section, describe, field_sections, table

_SESSION_COLUMNS = (
    "session_id",
    "execution_id",
    "phase_id",
    "started_at",
    "is_finalized",
    "turns",
    "tool_calls",
    "total_tokens",
    "total_cost_usd",
)
_EXECUTION_COLUMNS = (
    "execution_id",
    "workflow_id",
    "started_at",
    "is_complete",
    "session_count",
    "turns",
    "tool_calls",
    "total_tokens",
    "total_cost_usd",
)


def add_to(commands: Subparsers) -> None:
    costs = add_group(commands, "costs", "costs of workflow runs, sessions and executions")

    runs = add_command(costs, "runs", _runs, "total cost of workflow runs")
    runs.add_argument("--workflow-id", metavar="ID", help="only runs of this workflow")
    add_dates(runs)
    run = add_command(costs, "run", _run, "cost of one workflow run")
    run.add_argument("id", type=identifier)
    for parser in (runs, run):
        parser.add_argument("--include-children", action="store_true", help="with child runs, to any depth")

    sessions = add_command(costs, "sessions", _sessions, "sessions with their costs, newest first")
    sessions.add_argument("-e", "--execution-id", metavar="ID", help="only of this execution, oldest first")
    session = add_command(costs, "session", _session, "one session")
    session.add_argument("id", type=identifier)

    executions = add_command(costs, "executions", _executions, "executions with their costs, newest first")
    execution = add_command(costs, "execution", _execution, "one execution")
    execution.add_argument("id", type=identifier)
    execution.add_argument("--session-ids", action="store_true", help="with the ids of its sessions")

    for parser in (sessions, executions):
        parser.add_argument("-n", "--limit", type=int, metavar="N", help="1 to 200 (default: 50)")
    for parser in (session, execution):
        parser.add_argument("--no-breakdown", action="store_true", help="without the costs by model, tool and phase")

    add_command(
        costs, "summary", _summary, "totals of events with a session, and the most expensive models and sessions"
    )


def _runs(options: argparse.Namespace) -> int:
    query = {
        "workflow_id": options.workflow_id,
        "start_date": options.start_date,
        "end_date": options.end_date,
        "include_children": options.include_children or None,
    }
    return get(options, "/costs/runs", _services, query)


def _run(options: argparse.Namespace) -> int:
    query = {"include_children": options.include_children or None}
    return get(options, _path("runs", options.id), _services, query)


def _sessions(options: argparse.Namespace) -> int:
    query = {"execution_id": options.execution_id, "limit": options.limit}
    return get(options, "/costs/sessions", _session_list, query)


def _session(options: argparse.Namespace) -> int:
    return get(options, _path("sessions", options.id), describe, _breakdown(options))


def _executions(options: argparse.Namespace) -> int:
    return get(options, "/costs/executions", _execution_list, {"limit": options.limit})


def _execution(options: argparse.Namespace) -> int:
    query = {**_breakdown(options), "include_session_ids": options.session_ids or None}
    return get(options, _path("executions", options.id), describe, query)


def _summary(options: argparse.Namespace) -> int:
    return get(options, "/costs/summary", _session_totals)


def _breakdown(options: argparse.Namespace) -> dict[str, bool | None]:
    return {"include_breakdown": False if options.no_breakdown else None}


def _path(kind: str, identifier: str) -> str:
    return f"/costs/{kind}/{quote(identifier, safe='')}"


def _session_totals(data: Any) -> list[Section]:
    """The totals, and that usage outside of sessions is not in them."""
    about = "Only events with a session. All usage: costtrack usage summary"
    return [*describe(data), Section(note=about)]


def _services(data: Any) -> list[Section]:
    """The total, and a line for each service and each of its groups."""
    if not isinstance(data, dict) or not isinstance(data.get("costs_by_service"), dict):
        return describe(data)
    by_group = data.get("costs_by_group")
    rows: list[dict[str, Any]] = []
    for service, cost in data["costs_by_service"].items():
        rows.append({"service": service, "group": "", "cost": cost})
        groups = by_group.get(service) if isinstance(by_group, dict) else None
        if isinstance(groups, dict):
            rows += [{"service": "", "group": group, "cost": amount} for group, amount in groups.items()]
    return [*field_sections("", {"total_cost": data.get("total_cost")}), *table("", rows, nothing="no costs")]


def _session_list(data: Any) -> list[Section]:
    return table("", data, _SESSION_COLUMNS, nothing="no sessions")


def _execution_list(data: Any) -> list[Section]:
    return table("", data, _EXECUTION_COLUMNS, nothing="no executions")
