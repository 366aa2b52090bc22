"""`costtrack allocation show|months|rules|split|end`: shared cost before and after the rules that split it."""

import argparse
import json
from typing import Any

from costtrack.client import numbers
from costtrack.client.call import get, post
from costtrack.client.options import Subparsers, add_command, add_group
from costtrack.client.sections import Section, describe, field_sections, table

_FIELDS = ("month", "cost_usd", "direct_share", "allocated_share")
_RULES = ("id", "name", "starts", "ended", "applies", "position", "method", "measure", "source", "targets", "actor")
_SOURCES = (
    *("client_id", "model", "provider", "service", "capability", "agent_id", "environment", "user_id", "team"),
    *("end_user", "tag"),
)


def add_to(commands: Subparsers) -> None:
    group = add_group(commands, "allocation", "shared cost before and after the rules that split it")
    show = add_command(group, "show", _show, "the cost of each team, end user or tag in a month")
    show.add_argument("--month", metavar="YYYY-MM", help="default: the current month")
    months = add_command(group, "months", _months, "the share of each month's cost that is allocated")
    months.add_argument("--months", type=int, metavar="N", help="until this month (default: 12)")
    rules = add_command(group, "rules", _rules, "all versions of the rules")

    split = add_command(group, "split", _split, "store a version of a rule; with --preview only show what it does")
    split.add_argument("--name", required=True, metavar="NAME")
    split.add_argument("--starts", required=True, metavar="YYYY-MM", help="the first month with the version")
    split.add_argument("--method", required=True, choices=("even", "fixed", "proportional"))
    split.add_argument("--measure", choices=("cost", "requests", "tokens"), help="of a proportional split")
    split.add_argument("--target", action="append", default=[], metavar="NAME[=PERCENT]", help="may be repeated")
    split.add_argument("--all-usage", action="store_true", help="also usage that names a target")
    split.add_argument("--position", type=int, metavar="N", help="usage of several rules belongs to the lowest one")
    split.add_argument("--preview", action="store_true", help="store nothing")
    for name in _SOURCES:
        option = f"--{name.replace('_', '-')}"
        split.add_argument(option, action="append", metavar="NAME", help="only this usage; may be repeated")

    end = add_command(group, "end", _end, "end the rule of a version")
    end.add_argument("id", type=int)
    end.add_argument("--starts", required=True, metavar="YYYY-MM", help="the first month without the rule")
    for parser in (show, months, rules, split):
        parser.add_argument("--by", choices=("team", "end_user", "tag"), help="default: team")
        parser.add_argument("--tag-prefix", metavar="TEXT", help="with --by tag: only tags that begin with this")


def _show(options: argparse.Namespace) -> int:
    return get(options, "/usage/allocation", _allocation, {**_basis(options), "month": options.month})


def _months(options: argparse.Namespace) -> int:
    return get(options, "/usage/allocation/months", _month_list, {**_basis(options), "months": options.months})


def _rules(options: argparse.Namespace) -> int:
    return get(options, "/usage/allocation/rules", _rule_list, _basis(options))


def _split(options: argparse.Namespace) -> int:
    given = {
        **_basis(options),
        **{name: getattr(options, name) for name in ("name", "starts", "method", "measure", "position")},
        "source": {name: getattr(options, name) for name in _SOURCES if getattr(options, name)},
        "targets": [_target(text, is_fixed=options.method == "fixed") for text in options.target],
        "without_target_only": not options.all_usage,
    }
    body = json.dumps({name: value for name, value in given.items() if value is not None})
    if options.preview:
        return post(options, "/usage/allocation/preview", body, _allocation)
    return post(options, "/usage/allocation/rules", body, describe)


def _end(options: argparse.Namespace) -> int:
    return post(options, f"/usage/allocation/rules/{options.id}/end", json.dumps({"starts": options.starts}), describe)


def _basis(options: argparse.Namespace) -> dict[str, str | None]:
    return {"by": options.by, "tag_prefix": options.tag_prefix}


def _target(text: str, *, is_fixed: bool) -> dict[str, str]:
    name, _, percent = text.rpartition("=") if is_fixed else (text, "", "")
    return {"name": name, "percent": percent} if is_fixed else {"name": name}


def _allocation(data: Any) -> list[Section]:
    """Show the figures of the month, its targets, and what belongs to none last."""
    if not isinstance(data, dict) or not isinstance(data.get("targets"), list):
        return describe(data)
    rows = [*data["targets"], data.get("unallocated")]
    named = [{**row, "target": row.get("target") or numbers.NO_NAME} for row in rows if isinstance(row, dict)]
    figures = {name: data.get(name) for name in _FIELDS}
    return [*field_sections("", figures), *table("", named, nothing="no cost")]


def _month_list(data: Any) -> list[Section]:
    return table("", data.get("months") if isinstance(data, dict) else data, nothing="no months")


def _rule_list(data: Any) -> list[Section]:
    rows = data.get("results") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        return describe(data)
    return table("", [_rule(row) for row in rows if isinstance(row, dict)], _RULES, nothing="no rules")


def _rule(row: dict[str, Any]) -> dict[str, Any]:
    """A version with its targets as texts."""
    targets = [
        f"{target.get('name')} {target['percent']}%" if target.get("percent") else str(target.get("name"))
        for target in row.get("targets") or []
        if isinstance(target, dict)
    ]
    return {**row, "targets": targets}
