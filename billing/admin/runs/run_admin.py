"""The read-only admin of workflow runs, with their costs."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import local_time
from billing.admin.components.list_filters import ExactTextFilter
from billing.admin.components.model_admins import CursorList, OrganizationFilter, SingleOrganizationAdmin
from billing.admin.components.run_costs import run_cost_card
from billing.admin.components.table_files import TableFiles
from billing.admin.components.tables import column
from billing.admin.components.urls import admin_url, ledger_url
from billing.models import Run
from organizations.admin_request import request_user
from organizations.permissions import USAGE


@admin.register(Run)
class RunAdmin(SingleOrganizationAdmin):
    resource = USAGE
    changelist_class = CursorList
    history_field = "created_at"
    read_only = True
    file_fields = ("run_id", "parent_run_id", "workflow_id", "created_at")
    list_display = ("name", "workflow", "parent", "first_seen", "events")
    list_filter = (
        OrganizationFilter,
        ExactTextFilter.of("workflow", "workflow", column="workflow_id"),
        ExactTextFilter.of("parent run", "parent", column="parent_run_id"),
    )
    search_fields = ("run_id",)
    search_help_text = "A run id"
    ordering = ("-created_at", "-id")
    empty_title = "No runs yet"
    empty_text = "A run appears when the first event with its id as run_id or parent_run_id arrives."

    def search(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        return queryset.filter(run_id=text)

    def cards(self, request: HttpRequest, row: Run) -> list[Card]:
        details = (
            ("Run", row.run_id),
            ("Workflow", row.workflow_id),
            ("Parent run", self.parent(row)),
            ("Organization", row.organization.name),
            ("First received", local_time(row.created_at)),
        )
        link = ("View events", ledger_url(row.organization_id, run=row.run_id))
        is_operator, files = request_user(request).is_superuser, TableFiles(request, row.organization)
        return [
            Card("Run", link=link, details=without_empty(details)),
            run_cost_card("Cost of this run", row, files, include_children=False, is_operator=is_operator),
            run_cost_card("Cost with child runs", row, files, include_children=True, is_operator=is_operator),
        ]

    name = column(Run, "Run", lambda row: formatting.code(row.run_id))
    workflow = column(Run, "Workflow", lambda row: row.workflow_id or formatting.NOTHING)

    @admin.display(description="Parent run")
    def parent(self, run: Run) -> SafeString | str:
        url = admin_url("billing_run_changelist", organization=run.organization_id, q=run.parent_run_id)
        return formatting.code_link(url, run.parent_run_id)

    first_seen = column(Run, "First received", lambda row: local_time(row.created_at))

    @admin.display(description="Events")
    def events(self, run: Run) -> SafeString:
        return formatting.link(ledger_url(run.organization_id, run=run.run_id), "View in ledger")
