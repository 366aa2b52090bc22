"""The read-only lists of sessions and executions."""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.datetimes import local_time
from billing.admin.components.list_filters import ExactTextFilter
from billing.admin.components.model_admins import OrganizationFilter
from billing.admin.components.tables import column
from billing.admin.runs.entity_admin import EntityAdmin
from billing.models import Execution, Session
from costtrack.organization_paths import organization_url


@admin.register(Session)
class SessionAdmin(EntityAdmin):
    id_column = "session_id"
    file_fields = (
        *("session_id", "execution_id", "workflow_id", "phase_id", "workspace_id", "agent_id"),
        *("first_at", "last_at", "completed_at"),
    )
    list_display = ("name", "execution", "workflow", "first_event", "last_event", "completed")
    list_filter = (OrganizationFilter, ExactTextFilter.of("execution", "execution", column="execution_id"))
    search_fields = ("session_id",)
    ordering = ("-first_at", "session_id")
    empty_title = "No sessions yet"
    empty_text = "A session appears when the first event with its session_id arrives."

    def page_url(self, row: Any) -> str:
        return organization_url(row.organization.slug, "session", row.session_id)

    @admin.display(description="Execution")
    def execution(self, session: Session) -> SafeString | str:
        if not session.execution_id:
            return formatting.NOTHING
        url = organization_url(session.organization.slug, "execution", session.execution_id)
        return formatting.code_link(url, session.execution_id)

    workflow = column(Session, "Workflow", lambda row: row.workflow_id or formatting.NOTHING)
    completed = column(Session, "Completed", lambda row: local_time(row.completed_at))


@admin.register(Execution)
class ExecutionAdmin(EntityAdmin):
    id_column = "execution_id"
    file_fields = ("execution_id", "first_at", "last_at")
    list_display = ("name", "first_event", "last_event")
    list_filter = (OrganizationFilter,)
    search_fields = ("execution_id",)
    ordering = ("-first_at", "execution_id")
    empty_title = "No executions yet"
    empty_text = "An execution appears when the first event with its execution_id and a session_id arrives."

    def page_url(self, row: Any) -> str:
        return organization_url(row.organization.slug, "execution", row.execution_id)
