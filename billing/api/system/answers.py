"""Document 000 (Glow): build the response bodies that `billing.api.system.shapes` describes. Plain dictionaries,
because serializers are too slow for a chart of several years.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from billing.api.system.ids import agent_uuid, model_uuid, user_uuid
from billing.reports.pricing.daily import Pricing
from billing.reports.pricing.groups import Group, GroupPage
from costtrack.clock import iso
from costtrack.money import plain

Body = dict[str, Any]

# Filters of Glow; departments, cohorts, roles and attempts do not exist here.
_FACETS = {
    name: {"visible": name == "date_range", "disabled": False}
    for name in ("date_range", "departments", "cohorts", "roles", "attempts")
}
_NO_OPTIONS: Body = {f"{name}_options": [] for name in ("department", "cohort", "role", "attempt")}


def pricing_body(report: Pricing) -> Body:
    models = [(str(model_uuid(used.model)), used.model.model, used.runs) for used in report.models]
    agents = [(str(agent_uuid(used.agent_id)), used.name, used.runs) for used in report.agents]
    daily = [
        {
            "date_key": bucket.day.isoformat(),
            "model_id": str(model_uuid(bucket.model)) if bucket.model is not None else None,
            "total_cost": plain(bucket.cost_usd),
            "run_count": bucket.runs,
        }
        for bucket in report.daily
    ]
    daily.sort(key=lambda item: (item["date_key"], item["model_id"] or ""))
    return {
        "daily": daily,
        "resources": {"agents": _names(agents), "models": _names(models)},
        "model_options": _options(models),
        "agent_options": _options(agents),
        "total_count": report.runs,
        "analytics": {
            "fields": _FACETS,
            **_NO_OPTIONS,
            "date_range_earliest": report.first_day.isoformat() if report.first_day is not None else None,
            "date_range_latest": report.last_day.isoformat() if report.last_day is not None else None,
        },
        "history": None,
    }


def groups_body(report: GroupPage, *, page: int, page_size: int) -> Body:
    return {
        "data": [_group(group) for group in report.groups],
        "total_count": report.total,
        "page": page,
        "page_size": page_size,
        "total_pages": -(-report.total // page_size),
    }


def _group(group: Group) -> Body:
    agent_ids, agent_names = _by_name((agent_uuid(agent_id), name) for agent_id, name in group.agents)
    model_ids, model_names = _by_name((model_uuid(model), model.model) for model in group.models)
    profile_ids, profile_names = _by_name((user_uuid(user), user) for user in group.users)
    return {
        "group_id": group.group_id,
        "session_id": group.session_id or None,
        "group_name": group.name or None,
        "first_run_at": iso(group.first_at),
        "last_run_at": iso(group.last_at),
        "run_count": group.runs,
        "total_input_tokens": group.input_tokens,
        "total_output_tokens": group.output_tokens,
        "total_tokens": group.input_tokens + group.output_tokens,
        "total_cost": plain(group.cost_usd),
        "agent_ids": agent_ids,
        "model_ids": model_ids,
        "profile_ids": profile_ids,
        "agent_names": agent_names,
        "model_names": model_names,
        "profile_names": profile_names,
    }


def _names(used: Iterable[tuple[str, str, int]]) -> Body:
    return {uuid: {"name": name} for uuid, name, _ in used}


def _options(used: Iterable[tuple[str, str, int]]) -> list[Body]:
    """Build options sorted by label. Ids that are the same UUID in different spellings are one option."""
    counts: dict[str, int] = {}
    labels: dict[str, str] = {}
    for uuid, name, runs in used:
        counts[uuid], labels[uuid] = counts.get(uuid, 0) + runs, name
    return [
        {"value": uuid, "label": label, "count": counts[uuid]}
        for uuid, label in sorted(labels.items(), key=lambda item: (item[1], item[0]))
    ]


def _by_name(pairs: Iterable[tuple[UUID, str]]) -> tuple[list[str], list[str]]:
    """Return parallel lists of ids and names, sorted by name."""
    pairs_by_name = sorted((name, str(uuid)) for uuid, name in pairs)
    return [uuid for _, uuid in pairs_by_name], [name for name, _ in pairs_by_name]
