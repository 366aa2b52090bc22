"""The page of a workflow run: its cost with and without its child runs, its parents and children, and its newest
events."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

import billing.admin.components.path_converters  # noqa: F401 - registers the path converter
from billing.admin.components import formatting
from billing.admin.components.cards import Detail, EmptyState, without_empty
from billing.admin.components.event_table import event_table
from billing.admin.components.organization_page import EMPTY_PAGE
from billing.admin.components.run_costs import run_cost_card
from billing.admin.components.table_files import TableFilesPage, all_pages, list_links
from billing.admin.components.tables import Table, TableFile
from billing.admin.components.urls import admin_url, ledger_url, run_url
from billing.admin.dashboard.runs.run_rows import branch_of
from billing.models import Run, UsageEvent
from billing.reports.events import EventFilter, list_events
from billing.reports.run_tree import RunRow, get_run_ancestors, get_run_row, list_child_runs
from billing.reports.runs import get_run
from costtrack.admin_site import register_page
from costtrack.calendar import ALWAYS
from costtrack.file_columns import Kind, attributes, computed

_EVENTS_SHOWN = 20
_CHILDREN_READ = 500
"""At a time, for a file."""
_CHILD_COLUMNS = (
    *attributes(Kind.TEXT, "run_id", "parent_run_id", "workflow_id"),
    *attributes(Kind.TIME, "first_at", "last_at"),
    *computed(Kind.COUNT, child_runs=lambda row: row.runs_below),
    *attributes(Kind.BOOLEAN, "is_truncated"),
    *attributes(Kind.COUNT, "own.requests", "own.prompt_tokens", "own.completion_tokens", "own.unpriced"),
    *attributes(Kind.AMOUNT, "own.cost"),
    *attributes(Kind.COUNT, "total.requests", "total.prompt_tokens", "total.completion_tokens", "total.unpriced"),
    *attributes(Kind.AMOUNT, "total.cost"),
)
_NEAREST = 8
"""The number of parent runs that are shown."""
_MAX_TITLE_LENGTH = 60


class RunPage(TableFilesPage):
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
        is_operator = self.user.is_superuser
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
                run_cost_card(title, run, self.files_of_tables, include_children=with_children, is_operator=is_operator)
                for title, with_children in (("This run only", False), ("With child runs", True))
            ],
            "branch": branch_of(self.organization, self.times, run_id=run.run_id, since=since),
            "children_file": self._children_file(since),
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
                ("First call", self.times.inline(row.first_at) if row is not None and row.first_at else ""),
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
        files = list_links(self.request, self.organization, "all-events", run=self.run.run_id)
        return event_table("The newest events of this run", page.rows, self.times, empty=empty, file=files)

    def _children_file(self, since: datetime | None) -> TableFile[RunRow]:
        read = partial(
            list_child_runs, organization=self.organization, run_id=self.run.run_id, since=since, limit=_CHILDREN_READ
        )

        def read_rows(after: int | None) -> tuple[Sequence[RunRow], int | None]:
            page = read(after=after)
            return page.rows, page.last

        return self.table_file("child-runs", _CHILD_COLUMNS, lambda: all_pages(read_rows))


def _shortened(run_id: str) -> str:
    return run_id if len(run_id) <= _MAX_TITLE_LENGTH else f"{run_id[:_MAX_TITLE_LENGTH]}…"


register_page("runs/r/<opaque_id:run_id>/", RunPage.as_view(), name="run")
