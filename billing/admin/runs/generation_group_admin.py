"""The read-only list of generation groups."""

from datetime import UTC
from typing import Any

from django.contrib import admin
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.list_filters import ExactTextFilter
from billing.admin.components.model_admins import OrganizationFilter
from billing.admin.runs.entity_admin import EntityAdmin
from billing.models import GenerationGroup
from costtrack.organization_paths import organization_url


@admin.register(GenerationGroup)
class GenerationGroupAdmin(EntityAdmin):
    id_column = "group_id"
    file_fields = ("group_id", "group_name", "session_id", "first_at", "last_at")
    list_display = ("name", "group_name", "session", "first_event", "last_event")
    list_filter = (OrganizationFilter, ExactTextFilter.of("name", "name", column="group_name"))
    search_fields = ("group_id",)
    ordering = ("-last_at", "group_id")
    empty_title = "No generation groups yet"
    empty_text = "A generation group appears when the first event with its group_id arrives."

    def page_url(self, row: Any) -> str:
        """Return the URL of the Pricing page with this group, in the days of its calls."""
        first_day, last_day = (f"{at.astimezone(UTC):%Y-%m-%d}" for at in (row.first_at, row.last_at))
        query = {"search": row.group_id, "start_date": first_day, "end_date": last_day}
        return f"{organization_url(row.organization.slug, 'pricing')}?{urlencode(query)}"

    @admin.display(description="Session")
    def session(self, group: GenerationGroup) -> SafeString | str:
        if not group.session_id:
            return formatting.NOTHING
        url = organization_url(group.organization.slug, "session", group.session_id)
        return formatting.code_link(url, group.session_id)
