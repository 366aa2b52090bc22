"""The cost of a run by service and cost group, for its page and for its row in the list of all runs."""

from decimal import Decimal

from django.utils.html import format_html

from billing.admin.components import formatting
from billing.admin.components.cards import Card
from billing.admin.components.table_files import TableFiles
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url
from billing.models import Run
from billing.reports.runs import get_run_costs
from costtrack.calendar import ALWAYS
from costtrack.clock import utc_now
from costtrack.file_columns import Kind, computed
from costtrack.money import usd
from organizations.plan_rights import PlanRights

CostLine = tuple[str, str, Decimal]
"""A service and one of its cost groups (empty for all of them), with their cost."""


_FILE_COLUMNS = (
    *computed(Kind.TEXT, service=lambda line: line[0], cost_group=lambda line: line[1]),
    *computed(Kind.AMOUNT, cost_usd=lambda line: line[2]),
)


def run_cost_card(title: str, run: Run, files: TableFiles, *, include_children: bool, is_operator: bool) -> Card:
    now = utc_now()
    window = PlanRights(run.organization, is_operator).visible(ALWAYS, now=now)
    costs = get_run_costs(
        organization=run.organization, run_id=run.run_id, include_children=include_children, window=window, now=now
    )
    lines: list[CostLine] = []
    for service, amount in costs.by_service.items():
        lines += [(service, "", amount), *((service, name, cost) for name, cost in costs.by_group[service].items())]
    columns = (
        Column[CostLine]("Service and group", _name),
        Column[CostLine](
            "Cost", lambda line: usd(line[2]) if line[1] else formatting.strong(usd(line[2])), is_number=True
        ),
        Column[CostLine]("Share", lambda line: f"{line[2] / costs.total:.1%}" if costs.total else "", is_number=True),
    )
    file = files.file("cost-with-child-runs" if include_children else "cost-of-run", _FILE_COLUMNS, lambda: lines)
    table = Table(f"{title}, by service and group", columns, lines, empty="No events with a cost.", file=file)
    return Card(title, amount=usd(costs.total), table=table, footer=_unpriced(costs.unpriced_events))


def _name(line: CostLine) -> str:
    service, group, _ = line
    return format_html('<span class="ct-group">{}</span>', group) if group else service


def _unpriced(events: int) -> str:
    if not events:
        return ""
    text = "1 event has no price yet and is" if events == 1 else f"{events} events have no price yet and are"
    link = formatting.link(admin_url("billing_unpricedevent_changelist"), "Review")
    return format_html("{} not included. {}", text, link)
