"""The runs page: the newest root runs, or the runs of a workflow, with their own cost and the cost of their subtree."""

from http import HTTPStatus
from typing import Any, ClassVar

from django import forms
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase

import billing.admin.components.path_converters  # noqa: F401 - registers the path converter
from billing.admin.components import formatting
from billing.admin.components.cards import INVALID_FILTERS, EmptyState
from billing.admin.components.cursor_trail import CursorTrail
from billing.admin.components.files import FileView, file_links
from billing.admin.components.form_fields import text_filter
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.urls import admin_url, run_url
from billing.admin.dashboard.runs.run_rows import DEEPEST_SHOWN, branch_of, lines_of, number_in
from billing.exports.run_files import RunsFile
from billing.exports.table_files import FileQuery
from billing.reports.cursors import Page
from billing.reports.run_tree import MAX_WALKED, RunPage, get_run_row, list_runs
from costtrack.admin_site import register_page
from costtrack.errors import InvalidError

_RUNS_SHOWN = 25


class RunsForm(forms.Form):
    run = text_filter("Run id", type="search", placeholder="Exact id")
    workflow = text_filter("Workflow id", type="search", placeholder="All")


class RunsPage(OrganizationPage):
    title = "Runs"
    template_name = "admin/dashboard/runs.html"
    stylesheets = ("costtrack/runs.css",)
    scripts = ("costtrack/runs.js",)
    refresh_seconds = 30

    def page_context(self) -> dict[str, Any]:
        form = RunsForm(self.request.GET)
        parameters = form.cleaned_data if form.is_valid() else {}
        trail = CursorTrail.of(self.request.GET)
        page = self._page(parameters, trail) if form.is_valid() else Page((), None)
        rows = [row for row in page.rows if self.plan_rights.is_visible(row.first_seen_at, now=self.now)]
        return {
            "form": form,
            "parameters": parameters,
            "lines": lines_of(rows, self.times),
            "empty": INVALID_FILTERS if form.errors else self._empty_state(parameters),
            "files": file_links(self, "runs_file"),
            "trail": trail,
            "older": trail.older(str(page.last)) if rows and page.last is not None else "",
            "is_truncated": any(row.is_truncated for row in rows),
            "max_walked": formatting.count(MAX_WALKED),
        }

    def _empty_state(self, parameters: dict[str, Any]) -> EmptyState:
        all_runs = [("All runs", self.request.path)]
        if parameters.get("run"):
            return EmptyState("account_tree", "No run has this id", "Ids must match exactly, including case.", all_runs)
        if parameters.get("workflow"):
            text = f"No events with the workflow {parameters['workflow']}."
            return EmptyState("account_tree", "No runs", text, all_runs)
        if self.request.GET:
            return EmptyState("account_tree", "No runs", "There are no older runs.", all_runs)
        text = (
            "Send run_id with your events, and parent_run_id for child runs. Each run then appears here with its own "
            "cost and the cost including child runs."
        )
        start = [("Send events", admin_url("getting_started"))]
        return EmptyState("account_tree", "No runs yet", text, start, is_first_use=True)

    def _page(self, parameters: dict[str, Any], trail: CursorTrail) -> RunPage:
        since = self.plan_rights.history_start(self.now)
        if parameters["run"]:
            row = get_run_row(organization=self.organization, run_id=parameters["run"], since=since)
            return Page([row] if row is not None else [], None)
        return list_runs(
            organization=self.organization,
            workflow_id=parameters["workflow"],
            since=since,
            after=number_in(trail.cursor),
            limit=_RUNS_SHOWN,
        )


class RunsFilePage(FileView):
    def file_query(self) -> FileQuery:
        form = RunsForm(self.request.GET)
        if not form.is_valid():
            raise InvalidError(INVALID_FILTERS.title)
        return RunsFile(
            run_id=form.cleaned_data["run"],
            workflow_id=form.cleaned_data["workflow"],
            since=self.plan_rights.history_start(self.now),
        )


class RunChildrenPage(OrganizationPage):
    """Table rows of a run's children, for a table on the page. Without JavaScript it redirects to the run's page."""

    title = "Runs"
    template_name: ClassVar[str] = "admin/dashboard/run_branch.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.headers.get("HX-Request"):
            return HttpResponseRedirect(run_url(kwargs["run_id"]), status=HTTPStatus.FOUND)
        return super().get(request, *args, **kwargs)

    def page_context(self) -> dict[str, Any]:
        parameters = self.request.GET
        depth = min(number_in(parameters.get("depth")) or 0, DEEPEST_SHOWN)
        branch = branch_of(
            self.organization,
            self.times,
            run_id=self.kwargs["run_id"],
            since=self.plan_rights.history_start(self.now),
            after=number_in(parameters.get("after")),
            depth=depth,
        )
        return {"branch": branch}


register_page("files/runs/", RunsFilePage.as_view(), name="runs_file")
register_page("runs/", RunsPage.as_view(), name="runs")
register_page("runs/children/<opaque_id:run_id>/", RunChildrenPage.as_view(), name="run_children")
