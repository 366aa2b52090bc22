"""The read-only lists of sessions and executions."""

from django.contrib import admin
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.list_filters import ExactTextFilter
from billing.admin.components.model_admins import OrganizationFilter
from billing.admin.runs.entity_admin import EntityAdmin
from billing.models import Execution, Session
from costtrack.organization_paths import organization_url


class ExecutionFilter(ExactTextFilter):
    title = "execution"
    parameter_name = "execution"
    column = "execution_id"


@admin.register(Session)
class SessionAdmin(EntityAdmin):
    id_column = "session_id"
    list_display = ("name", "execution", "workflow", "first_event", "last_event", "completed")
    list_filter = (OrganizationFilter, ExecutionFilter)
    search_fields = ("session_id",)  # shows the field; `get_search_results` does the search
    ordering = ("-first_at", "session_id")
    empty_title = "No sessions yet"
    empty_text = "A session appears with the first event that names it in session_id."

    def page_url(self, row: Session) -> str:
        return organization_url(row.organization.slug, "session", row.session_id)

    @admin.display(description="Execution")
    def execution(self, session: Session) -> SafeString | str:
        if not session.execution_id:
            return formatting.NOTHING
        url = organization_url(session.organization.slug, "execution", session.execution_id)
        return formatting.link(url, formatting.code(session.execution_id))

    @admin.display(description="Workflow")
    def workflow(self, session: Session) -> str:
        return session.workflow_id or formatting.NOTHING

    @admin.display(description="Completed (UTC)")
    def completed(self, session: Session) -> str:
        return formatting.instant(session.completed_at)


@admin.register(Execution)
class ExecutionAdmin(EntityAdmin):
    id_column = "execution_id"
    list_display = ("name", "first_event", "last_event")
    list_filter = (OrganizationFilter,)
    search_fields = ("execution_id",)
    ordering = ("-first_at", "execution_id")
    empty_title = "No executions yet"
    empty_text = "An execution appears with the first event that names it in execution_id, and a session."

    def page_url(self, row: Execution) -> str:
        return organization_url(row.organization.slug, "execution", row.execution_id)
