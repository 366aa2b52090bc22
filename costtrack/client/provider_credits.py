"""`costtrack credits list|add|void`: what providers have credited."""

import argparse
import json
from typing import Any

from costtrack.client.call import get, post
from costtrack.client.options import Subparsers, add_command, add_dates, add_group
from costtrack.client.sections import Section, describe, table

_COLUMNS = (
    *("id", "amount_usd", "reason", "start_date", "end_date", "dimensions", "actor", "created_at", "voided_at"),
    "void_reason",
)
_DIMENSIONS = (
    *("service", "model", "capability", "user_id", "end_user", "team", "agent_id", "workflow_id", "run_id"),
    "client_id",
)


def add_to(commands: Subparsers) -> None:
    group = add_group(commands, "credits", "credits and refunds of providers that belong to no single call")
    add_command(group, "list", _list, "credits, newest first")

    new = add_command(group, "add", _add, "record a credit, which reduces spend and limits in its period")
    new.add_argument("--amount", required=True, metavar="AMOUNT", help="US dollars, more than 0")
    new.add_argument("--reason", required=True, metavar="TEXT")
    add_dates(new)
    for name in _DIMENSIONS:
        new.add_argument(f"--{name.replace('_', '-')}", metavar="NAME", help="what the credit is about")
    new.add_argument("--tag", action="append", metavar="NAME", help="may be repeated")

    void = add_command(group, "void", _void, "take a credit back")
    void.add_argument("id", type=int)
    void.add_argument("--reason", required=True, metavar="TEXT")


def _list(options: argparse.Namespace) -> int:
    return get(options, "/usage/credits", _credits, {"page_size": 100})


def _add(options: argparse.Namespace) -> int:
    names = ("reason", "start_date", "end_date", *_DIMENSIONS)
    given = {"amount_usd": options.amount, **{name: getattr(options, name) for name in names}, "tags": options.tag}
    body = {name: value for name, value in given.items() if value is not None}
    return post(options, "/usage/credits", json.dumps(body), describe)


def _void(options: argparse.Namespace) -> int:
    return post(options, f"/usage/credits/{options.id}/void", json.dumps({"reason": options.reason}), describe)


def _credits(data: Any) -> list[Section]:
    return table("", data.get("results") if isinstance(data, dict) else data, _COLUMNS, nothing="no credits")
