"""The read-only admin of workflow runs, with their costs."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.list_filters import ExactTextFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin
from billing.models import Run
from billing.reports.runs import get_run_costs
from costtrack.clock import utc_now
from costtrack.money import usd


class WorkflowFilter(ExactTextFilter):
    title = "workflow"
    parameter_name = "workflow"
    column = "workflow_id"


class ParentFilter(ExactTextFilter):
    title = "parent run"
    parameter_name = "parent"
    column = "parent_run_id"


@admin.register(Run)
class RunAdmin(SingleOrganizationAdmin):
    read_only = True
    list_display = ("name", "workflow", "parent", "first_seen", "events")
    list_filter = (OrganizationFilter, WorkflowFilter, ParentFilter)
    search_fields = ("run_id",)  # shows the field; `get_search_results` does the search
    search_help_text = "A run id"
    ordering = ("-id",)
    fields = ()
    empty_title = "No runs yet"
    empty_text = "A run appears with the first event that names it in run_id or parent_run_id."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Match the complete id. Django would search each word separately, and ids may contain spaces."""
        run_id = search_term.strip()
        return (queryset.filter(run_id=run_id) if run_id else queryset), False

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        run: Run = context["original"]
        context["alone"] = _costs(run, include_children=False)
        context["with_children"] = _costs(run, include_children=True)
        context["events_url"] = formatting.ledger_url(run.organization_id, run=run.run_id)
        context["details"] = formatting.without_empty(
            (
                ("Run", run.run_id),
                ("Workflow", run.workflow_id),
                ("Parent run", self.parent(run)),
                ("Organization", run.organization.name),
                ("First seen (UTC)", formatting.instant(run.created_at)),
            )
        )
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Run")
    def name(self, run: Run) -> SafeString:
        return formatting.code(run.run_id)

    @admin.display(description="Workflow")
    def workflow(self, run: Run) -> str:
        return run.workflow_id or formatting.NOTHING

    @admin.display(description="Parent run")
    def parent(self, run: Run) -> SafeString | str:
        if not run.parent_run_id:
            return formatting.NOTHING
        query = urlencode({"organization": str(run.organization_id), "q": run.parent_run_id})
        return formatting.link(f"{reverse('admin:billing_run_changelist')}?{query}", formatting.code(run.parent_run_id))

    @admin.display(description="First seen (UTC)")
    def first_seen(self, run: Run) -> str:
        return formatting.instant(run.created_at)

    @admin.display(description="Events")
    def events(self, run: Run) -> SafeString:
        return formatting.link(formatting.ledger_url(run.organization_id, run=run.run_id), "View in ledger")


def _costs(run: Run, *, include_children: bool) -> dict[str, Any]:
    """Return the page's cost table: a row per service and group."""
    costs = get_run_costs(
        organization=run.organization, run_id=run.run_id, include_children=include_children, now=utc_now()
    )
    rows = [
        (service, group, usd(amount)) for service, groups in costs.by_group.items() for group, amount in groups.items()
    ]
    return {"total": usd(costs.total), "rows": rows, "unpriced": costs.unpriced_events}
