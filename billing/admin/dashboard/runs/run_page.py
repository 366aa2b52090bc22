"""The page of a workflow run: its cost with and without its child runs, its parents and children, and its newest
events."""

from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import urlencode

import billing.admin.components.path_converters  # noqa: F401 - registers the path converter
from billing.admin.components import datetimes, formatting
from billing.admin.components.event_table import EventRow, row_of_event
from billing.admin.components.formatting import Detail
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.urls import run_url
from billing.admin.dashboard.runs.run_rows import Branch, branch_of
from billing.models import Run
from billing.reports.events import EventFilter, list_events
from billing.reports.run_tree import get_run_ancestors
from billing.reports.runs import RunCosts, get_run, get_run_costs
from costtrack.admin_site import register_page
from costtrack.money import usd

_EVENTS_SHOWN = 20
_NEAREST = 8
"""The number of parent runs that are shown."""
_MAX_TITLE_LENGTH = 60


@dataclass(frozen=True, slots=True)
class CostShare:
    """The cost of a service, or of a cost group of it (such as a model), with its share of the total."""

    name: str
    cost: str
    share: str


@dataclass(frozen=True, slots=True)
class Costs:
    title: str
    total: str
    services: list[tuple[CostShare, list[CostShare]]]
    unpriced: int


class RunPage(OrganizationPage):
    title = "Run"
    template_name = "admin/dashboard/run.html"
    refresh_seconds = 30

    run: Run

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        run = get_run(organization=self.organization, run_id=kwargs["run_id"])
        if run is None:
            unknown = {"title": "Unknown run", "run_id": kwargs["run_id"], "refresh_seconds": 0}
            return self._respond("admin/dashboard/run_unknown.html", unknown, status=HTTPStatus.NOT_FOUND)
        self.run = run
        return super().get(request, *args, **kwargs)

    def page_context(self) -> dict[str, Any]:
        run = self.run
        above = get_run_ancestors(organization=self.organization, run_id=run.run_id)
        return {
            "title": f"Run {_shortened(run.run_id)}",
            "run": run,
            "above": [(run_id, run_url(run_id)) for run_id in above.run_ids[-_NEAREST:]],
            "is_deeper": len(above.run_ids) > _NEAREST,
            "has_cycle": above.has_cycle,
            "details": self._details(),
            "costs": [
                self._costs("This run only", include_children=False),
                self._costs("With child runs", include_children=True),
            ],
            "branch": self._branch(),
            "rows": self._rows(),
            "log_url": f"{reverse('admin:request_log')}?{urlencode({'run': run.run_id, 'range': '90d'})}",
            "ledger_url": formatting.ledger_url(self.organization.pk, run=run.run_id),
        }

    def _details(self) -> list[Detail]:
        run = self.run
        workflow_url = f"{reverse('admin:runs')}?{urlencode({'workflow': run.workflow_id})}"
        seen = datetimes.inline(
            run.created_at.replace(microsecond=0), calendar=self.organization.calendar, now=self.now
        )
        return formatting.without_empty(
            [
                ("Workflow", formatting.link(workflow_url, run.workflow_id) if run.workflow_id else ""),
                ("First seen", seen),
            ]
        )

    def _costs(self, title: str, *, include_children: bool) -> Costs:
        costs: RunCosts = get_run_costs(
            organization=self.organization, run_id=self.run.run_id, include_children=include_children, now=self.now
        )
        services = [
            (
                _cost_share(service, amount, costs.total),
                [_cost_share(name, cost, costs.total) for name, cost in costs.by_group[service].items()],
            )
            for service, amount in costs.by_service.items()
        ]
        return Costs(title, usd(costs.total), services, costs.unpriced_events)

    def _branch(self) -> Branch:
        return branch_of(organization=self.organization, run_id=self.run.run_id, after=None, depth=0, now=self.now)

    def _rows(self) -> list[EventRow]:
        page = list_events(
            organization=self.organization,
            filters=EventFilter(run_id=self.run.run_id),
            after=None,
            limit=_EVENTS_SHOWN,
        )
        calendar = self.organization.calendar
        return [row_of_event(event, calendar=calendar, now=self.now) for event in page.rows]


def _cost_share(name: str, amount: Decimal, total: Decimal) -> CostShare:
    return CostShare(name, usd(amount), f"{amount / total:.1%}" if total else "")


def _shortened(run_id: str) -> str:
    return run_id if len(run_id) <= _MAX_TITLE_LENGTH else f"{run_id[:_MAX_TITLE_LENGTH]}…"


register_page("runs/r/<opaque_id:run_id>/", RunPage.as_view(), name="run")
