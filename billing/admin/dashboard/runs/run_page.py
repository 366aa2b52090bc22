"""One workflow run: what it cost, alone and with all runs below it, where it stands in its tree, and its newest
events."""

from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import urlencode

import billing.admin.components.path_converters  # noqa: F401 - how addresses hold ids
from billing.admin.components import datetimes, formatting
from billing.admin.components.event_table import EventRow, row_of_event
from billing.admin.components.formatting import Fact
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.urls import run_url
from billing.admin.dashboard.runs.run_rows import Branch, branch_of
from billing.models import Run
from billing.reports.event_list import EventFilter, list_events
from billing.reports.run_tree import ancestors_of, run_named
from billing.reports.runs import costs_of_run
from billing.reports.types import RunCosts
from costtrack.admin_site import register_page
from costtrack.money import usd

_EVENTS_SHOWN = 20
_NEAREST = 8
"""Runs above this one that are named."""
_MAX_TITLE_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Part:
    """A service, or a group of one (a model, or what the events name as their group), with its share of the whole."""

    name: str
    cost: str
    share: str


@dataclass(frozen=True, slots=True)
class Costs:
    title: str
    total: str
    services: list[tuple[Part, list[Part]]]
    unpriced: int


class RunPage(OrganizationPage):
    title = "Run"
    template_name = "admin/dashboard/run.html"
    refresh_seconds = 30

    run: Run

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        run = run_named(organization=self.organization, run_id=kwargs["run_id"])
        if run is None:
            unknown = {"title": "No such run", "run_id": kwargs["run_id"], "refresh_seconds": 0}
            return self._answer("admin/dashboard/run_unknown.html", unknown, status=HTTPStatus.NOT_FOUND)
        self.run = run
        return super().get(request, *args, **kwargs)

    def page_context(self) -> dict[str, Any]:
        run = self.run
        above = ancestors_of(organization=self.organization, run_id=run.run_id)
        return {
            "title": f"Run {_shortened(run.run_id)}",
            "run": run,
            "above": [(run_id, run_url(run_id)) for run_id in above.run_ids[-_NEAREST:]],
            "is_deeper": len(above.run_ids) > _NEAREST,
            "is_circle": above.is_circle,
            "facts": self._facts(),
            "costs": [
                self._costs("This run alone", include_children=False),
                self._costs("With all runs below it", include_children=True),
            ],
            "branch": self._branch(),
            "rows": self._rows(),
            "log_url": f"{reverse('admin:request_log')}?{urlencode({'run': run.run_id, 'range': '90d'})}",
            "ledger_url": formatting.ledger(self.organization.pk, run=run.run_id),
        }

    def _facts(self) -> list[Fact]:
        run = self.run
        workflow_url = f"{reverse('admin:runs')}?{urlencode({'workflow': run.workflow_id})}"
        seen = datetimes.inline(
            run.created_at.replace(microsecond=0), calendar=self.organization.calendar, now=self.now
        )
        return formatting.present(
            [
                ("Workflow", formatting.link(workflow_url, run.workflow_id) if run.workflow_id else ""),
                ("First seen", seen),
            ]
        )

    def _costs(self, title: str, *, include_children: bool) -> Costs:
        costs: RunCosts = costs_of_run(
            organization=self.organization, run_id=self.run.run_id, include_children=include_children, now=self.now
        )
        services = [
            (
                _part(service, amount, costs.total),
                [_part(name, cost, costs.total) for name, cost in costs.by_group[service].items()],
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
        return [row_of_event(event, calendar=calendar, now=self.now) for event in page.events]


def _part(name: str, amount: Decimal, total: Decimal) -> Part:
    return Part(name, usd(amount), f"{amount / total:.1%}" if total else "")


def _shortened(run_id: str) -> str:
    return run_id if len(run_id) <= _MAX_TITLE_LENGTH else f"{run_id[:_MAX_TITLE_LENGTH]}…"


register_page("runs/r/<opaque_id:run_id>/", RunPage.as_view(), name="run")
