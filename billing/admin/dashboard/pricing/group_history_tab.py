"""The columns and rows of the group history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.sortable_columns import Column
from billing.reports.pricing.groups import Group, GroupOrder
from costtrack.clock import iso
from costtrack.money import usd

# The values of `sort_by` of `POST /system/groups`.
ORDERS = {
    "date": GroupOrder.DATE,
    "total_cost": GroupOrder.COST,
    "total_tokens": GroupOrder.TOKENS,
    "run_count": GroupOrder.RUNS,
}
COLUMNS = (
    Column("Group"),
    Column("Session"),
    Column("When", "date"),
    Column("Runs", "run_count", is_number=True),
    Column("Input", is_number=True),
    Column("Output", is_number=True),
    Column("Tokens", "total_tokens", is_number=True),
    Column("Cost", "total_cost", is_number=True),
    Column("Models and agents"),
)
# The lengths of the day and of the year in `2026-11-02 09:00`.
_DAY, _YEAR = len("2026-11-02 "), len("2026-")


@dataclass(frozen=True, slots=True)
class Several:
    """The first name and the number of others; `all` is for the tooltip."""

    first: str
    more: int
    all: str


@dataclass(frozen=True, slots=True)
class GroupRow:
    group_id: str
    name: str
    session_id: str
    url: str
    when: SafeString
    runs: str
    input_tokens: str
    output_tokens: str
    tokens: str
    cost: str
    agents: Several
    models: Several


def group_row(group: Group, *, now: datetime) -> GroupRow:
    return GroupRow(
        group_id=group.group_id,
        name=group.name,
        session_id=group.session_id,
        url=reverse("admin:session", args=[group.session_id]) if group.session_id else "",
        when=_when(group, now),
        runs=formatting.count(group.runs),
        input_tokens=formatting.count(group.input_tokens),
        output_tokens=formatting.count(group.output_tokens),
        tokens=formatting.count(group.input_tokens + group.output_tokens),
        cost=usd(group.cost_usd),
        agents=_several([name for _, name in group.agents]),
        models=_several([key.model for key in group.models]),
    )


def _when(group: Group, now: datetime) -> SafeString:
    """Render how long ago the last run was, with the time range of the group's runs below."""
    first, last = (f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" for at in (group.first_at, group.last_at))
    same = next((prefix for prefix in (first[:_DAY], first[:_YEAR]) if last.startswith(prefix)), "")
    return format_html(
        '<time class="ct-two-lines" datetime="{}" title="{}"><span>{}</span><small>{}</small></time>',
        iso(group.last_at),
        f"{iso(group.first_at)} to {iso(group.last_at)}",
        datetimes.relative(group.last_at, now),
        f"{last} UTC" if first == last else f"{first} to {last.removeprefix(same)} UTC",
    )


def _several(names: Sequence[str]) -> Several:
    unique = list(dict.fromkeys(names))
    return Several(next(iter(unique), ""), max(len(unique) - 1, 0), ", ".join(unique))
