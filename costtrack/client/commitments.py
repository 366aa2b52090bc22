"""`costtrack commitments list|add|end|report`: fixed fees, and the usage that they cover."""

import argparse
import json
from typing import Any

from costtrack.client.call import get, post
from costtrack.client.options import Subparsers, add_command, add_group
from costtrack.client.sections import Section, describe, field_sections, table

_COLUMNS = ("id", "name", "kind", "amount_usd", "period", "starts", "ends", "covers", "tokens_per_minute", "actor")
_TOTALS = ("month", "spend_usd", "metered_usd", "fees_usd", "idle_usd", "notional_usd")
_COVERS = (
    *("client_id", "model", "provider", "service", "capability", "agent_id", "environment", "user_id", "team"),
    *("end_user", "tag"),
)


def add_to(commands: Subparsers) -> None:
    group = add_group(commands, "commitments", "subscriptions and provisioned capacity, and the usage that they cover")
    add_command(group, "list", _list, "all commitments")
    report = add_command(group, "report", _report, "fees of a month, used and idle, and the price of a token")
    report.add_argument("--month", metavar="YYYY-MM", help="default: the current month")

    new = add_command(group, "add", _add, "record a fixed fee and what it covers")
    new.add_argument("--name", required=True, metavar="NAME")
    new.add_argument("--kind", required=True, choices=("subscription", "provisioned"))
    new.add_argument("--amount", required=True, metavar="AMOUNT", help="US dollars for each period")
    new.add_argument("--period", choices=("hour", "day", "month", "year"), help="default: month")
    new.add_argument("--starts", required=True, metavar="DATE", help="the first day")
    new.add_argument("--ends", metavar="DATE", help="the last day")
    new.add_argument("--tokens-per-minute", type=int, metavar="N", help="the capacity")
    for name in _COVERS:
        option = f"--{name.replace('_', '-')}"
        new.add_argument(option, action="append", metavar="NAME", help="covers only this; may be repeated")

    end = add_command(group, "end", _end, "end a commitment")
    end.add_argument("id", type=int)
    end.add_argument("--ends", required=True, metavar="DATE", help="the last day")


def _list(options: argparse.Namespace) -> int:
    return get(options, "/usage/commitments", _commitments)


def _report(options: argparse.Namespace) -> int:
    return get(options, "/usage/commitments/report", _uses, {"month": options.month})


def _add(options: argparse.Namespace) -> int:
    names = ("name", "kind", "period", "starts", "ends", "tokens_per_minute")
    given = {
        **{name: getattr(options, name) for name in names},
        "amount_usd": options.amount,
        "covers": {name: getattr(options, name) for name in _COVERS if getattr(options, name)},
    }
    body = {name: value for name, value in given.items() if value is not None}
    return post(options, "/usage/commitments", json.dumps(body), describe)


def _end(options: argparse.Namespace) -> int:
    return post(options, f"/usage/commitments/{options.id}/end", json.dumps({"ends": options.ends}), describe)


def _commitments(data: Any) -> list[Section]:
    rows = data.get("results") if isinstance(data, dict) else data
    return table("", rows, _COLUMNS, nothing="no commitments")


def _uses(data: Any) -> list[Section]:
    """Show the totals of the month, and each commitment by its name."""
    if not isinstance(data, dict) or not isinstance(data.get("commitments"), list):
        return describe(data)
    rows = [
        {"name": use["commitment"].get("name"), **{name: value for name, value in use.items() if name != "commitment"}}
        for use in data["commitments"]
        if isinstance(use, dict) and isinstance(use.get("commitment"), dict)
    ]
    totals = {name: data.get(name) for name in _TOTALS}
    return [*field_sections("", totals), *table("", rows, nothing="no commitments in this month")]
