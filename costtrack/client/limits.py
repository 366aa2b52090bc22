"""`costtrack limits list|show|set|state`. `costtrack limits verify` reads the database (`costtrack.cli`)."""

import argparse
import json
from typing import Any

from costtrack.client.call import get, json_object, organization_path, send_request, show
from costtrack.client.errors import WrongArgumentsError
from costtrack.client.options import Subparsers, add_command, add_group
from costtrack.client.sections import Section, describe, table

_SETTINGS = (
    *("id", "scope", "scope_value", "window", "unit", "amount_usd", "soft_amount_usd", "action", "thresholds"),
    *("starts_at", "ends_at"),
)
_STATES = (
    *("id", "scope", "scope_value", "window", "unit", "state", "percent", "spent_usd", "reserved_usd"),
    *("remaining_usd", "amount_usd", "resets_at", "values_used"),
)
_FIELDS = ("scope", "scope_value", "window", "unit", "amount_usd", "soft_amount_usd", "action", "starts_at", "ends_at")


def add_to(commands: Subparsers) -> Subparsers:
    """Add the commands, and return their group."""
    limits = add_group(commands, "limits", "spend limits and their state")

    listed = add_command(limits, "list", _list, "spend limits with their terms")
    listed.add_argument("--window", metavar="NAME", help="calendar_month, rolling_7d, ...")
    listed.add_argument("--in-force", action="store_true", help="without limits that begin later or have ended")

    shown = add_command(limits, "show", _show, "one spend limit")
    shown.add_argument("id", type=int)

    state = add_command(limits, "state", _state, "what is spent and reserved under the limits in force")
    state.add_argument("--state", metavar="ok|warning|exceeded|paused")
    for parser in (listed, state):
        parser.add_argument("--scope", metavar="NAME", help="organization, user, model, ...")
        parser.add_argument("--scope-value", metavar="VALUE", help="with --state or a per-value limit: one value")

    changed = add_command(limits, "set", _set, "create a spend limit, or with an id change the given terms")
    changed.add_argument("id", type=int, nargs="?")
    changed.add_argument("--scope", metavar="NAME", help="organization, user, end_user, team, model, ...")
    changed.add_argument(
        "--scope-value", metavar="VALUE", help="without it, the limit applies to every value separately"
    )
    changed.add_argument("--window", metavar="NAME", help="calendar_month, rolling_7d, lifetime, ...")
    changed.add_argument("--unit", metavar="usd|tokens|requests")
    changed.add_argument("--amount", dest="amount_usd", metavar="AMOUNT", help="in the unit of the limit")
    changed.add_argument("--soft-amount", dest="soft_amount_usd", metavar="AMOUNT", help="also warn at this amount")
    changed.add_argument("--action", metavar="pause|notify")
    changed.add_argument("--starts-at", metavar="DATE")
    changed.add_argument("--ends-at", metavar="DATE", help="a date includes its whole day")
    changed.add_argument("--body", metavar="JSON", help="the complete request, for all other terms")
    return limits


def _list(options: argparse.Namespace) -> int:
    query = {
        "scope": options.scope,
        "scope_value": options.scope_value,
        "window": options.window,
        "in_force": options.in_force or None,
        "page_size": 100,
    }
    return get(options, organization_path(options, "/limits"), _limits, query)


def _show(options: argparse.Namespace) -> int:
    return get(options, organization_path(options, f"/limits/{options.id}"), describe)


def _state(options: argparse.Namespace) -> int:
    query = {"scope": options.scope, "scope_value": options.scope_value, "state": options.state}
    return get(options, "/usage/limits", _states, query)


def _set(options: argparse.Namespace) -> int:
    terms = {name: getattr(options, name) for name in _FIELDS if getattr(options, name) is not None}
    if bool(terms) == (options.body is not None):
        raise WrongArgumentsError("use either --body, or terms such as --amount")
    body = json.dumps(terms) if options.body is None else json_object(options.body, "--body")
    method, path = ("POST", "/limits") if options.id is None else ("PATCH", f"/limits/{options.id}")
    return show(options, send_request(options, method, organization_path(options, path), body=body), describe)


def _limits(data: Any) -> list[Section]:
    return table("", data.get("results") if isinstance(data, dict) else data, _SETTINGS, nothing="no limits")


def _states(data: Any) -> list[Section]:
    """The limits, and below them the values of per-value limits that are close to their amount or have an override."""
    limits = data.get("limits") if isinstance(data, dict) else data
    if not isinstance(limits, list):
        return describe(data)
    values = [row for limit in limits if isinstance(limit, dict) for row in limit.get("values") or []]
    by_value = table("values", values, _STATES) if values else []
    return [*table("", limits, _STATES, nothing="no limits"), *by_value]
