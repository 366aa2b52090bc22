"""The page of a workflow run: its cost with and without its child runs, its parents and children, and its newest
events."""

from http import HTTPStatus
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

import billing.admin.components.path_converters  # noqa: F401 - registers the path converter
from billing.admin.components import formatting
from billing.admin.components.cards import Detail, EmptyState, without_empty
from billing.admin.components.event_table import event_table
from billing.admin.components.organization_page import EMPTY_PAGE, OrganizationPage
from billing.admin.components.run_costs import run_cost_card
from billing.admin.components.tables import Table
from billing.admin.components.urls import admin_url, ledger_url, run_url
from billing.admin.dashboard.runs.run_rows import branch_of
from billing.models import Run, UsageEvent
from billing.reports.events import EventFilter, list_events
from billing.reports.run_tree import get_run_ancestors, get_run_row
from billing.reports.runs import get_run
from costtrack.admin_site import register_page
from costtrack.calendar import ALWAYS

_EVENTS_SHOWN = 20
_NEAREST = 8
"""The number of parent runs that are shown."""
_MAX_TITLE_LENGTH = 60


class RunPage(OrganizationPage):
    title = "Run"
    template_name = "admin/dashboard/run.html"
    stylesheets = ("costtrack/runs.css",)
    scripts = ("costtrack/runs.js",)
    refresh_seconds = 30

    run: Run

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        run = get_run(organization=self.organization, run_id=kwargs["run_id"])
        if run is None:
            unknown = EmptyState(
                "account_tree",
                "Run not found",
                "Ids must match exactly, including case. A run appears when its first event arrives.",
                [("All runs", admin_url("runs"))],
            )
            context = {"title": "Unknown run", "empty": unknown, "refresh_seconds": 0}
            return self._respond(EMPTY_PAGE, context, status=HTTPStatus.NOT_FOUND)
        self.run = run
        return super().get(request, *args, **kwargs)

    def page_context(self) -> dict[str, Any]:
        run = self.run
        above = get_run_ancestors(organization=self.organization, run_id=run.run_id)
        since = self.plan_rights.history_start(self.now)
        return {
            "title": f"Run {_shortened(run.run_id)}",
            "run": run,
            "above": [(run_id, run_url(run_id)) for run_id in above.run_ids[-_NEAREST:]],
            "is_deeper": len(above.run_ids) > _NEAREST,
            "has_cycle": above.has_cycle,
            "details": self._details(),
            "costs": [
                run_cost_card("This run only", run, include_children=False, is_operator=self.user.is_superuser),
                run_cost_card("With child runs", run, include_children=True, is_operator=self.user.is_superuser),
            ],
            "branch": branch_of(self.organization, self.times, run_id=run.run_id, since=since),
            "events": self._events(),
            "log_url": admin_url("request_log", run=run.run_id, range="90d"),
            "ledger_url": ledger_url(self.organization.pk, run=run.run_id),
        }

    def _details(self) -> list[Detail]:
        run = self.run
        since = self.plan_rights.history_start(self.now)
        row = get_run_row(organization=self.organization, run_id=run.run_id, since=since)
        workflow_url = admin_url("runs", workflow=run.workflow_id)
        return without_empty(
            [
                ("Workflow", formatting.link(workflow_url, run.workflow_id) if run.workflow_id else ""),
                ("First call", self.times.exact(row.first_at) if row is not None and row.first_at else ""),
                ("Last call", self.times.inline(row.last_at) if row is not None and row.last_at else ""),
                ("First received", self.times.inline(run.created_at)),
            ]
        )

    def _events(self) -> Table[UsageEvent]:
        page = list_events(
            organization=self.organization,
            filters=EventFilter(run_id=self.run.run_id, window=self.plan_rights.visible(ALWAYS, now=self.now)),
            after=None,
            limit=_EVENTS_SHOWN,
        )
        empty = "This run has no events, only child runs."
        return event_table("The newest events of this run", page.rows, self.times, empty=empty)


def _shortened(run_id: str) -> str:
    return run_id if len(run_id) <= _MAX_TITLE_LENGTH else f"{run_id[:_MAX_TITLE_LENGTH]}…"


register_page("runs/r/<opaque_id:run_id>/", RunPage.as_view(), name="run")
