"""Base of the read-only lists of sessions, executions and generation groups, which lead to the pages about them.

Their rows are those of a rollup (docs/rollups.md), so a new one appears when its first events are folded.
"""

from typing import Any, ClassVar, cast

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.datetimes import local_time
from billing.admin.components.model_admins import CursorList, SingleOrganizationAdmin, shown_organization
from billing.models.rollups import RollupRow
from organizations.permissions import USAGE


class EntityList(CursorList):
    def url_for_result(self, result: Any) -> str:
        """Return the URL of the entity's page."""
        return cast("EntityAdmin", self.model_admin).page_url(result)


class EntityAdmin(SingleOrganizationAdmin):
    resource = USAGE
    changelist_class = EntityList
    history_field = "first_at"
    read_only = True
    select_related = ("organization",)
    search_help_text = "A complete id"

    id_column: ClassVar[str]

    def page_url(self, row: Any) -> str:
        """Return the URL of the entity's page."""
        raise NotImplementedError

    def narrow(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """One organization, whose ids are unique, and one row for each id: the archived one only if it is alone."""
        same: dict[str, Any] = {name: OuterRef(name) for name in ("organization", self.id_column)}
        current = self.model._default_manager.filter(**same, archived=False)  # noqa: SLF001 - documented for such use
        return queryset.filter(Q(archived=False) | ~Exists(current), organization=shown_organization(request))

    def search(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        return queryset.filter(**{self.id_column: text})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the entity's page."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return super().change_view(request, object_id, form_url, extra_context)
        return HttpResponseRedirect(self.page_url(row))

    @admin.display(description="Id")
    def name(self, row: RollupRow) -> SafeString | str:
        return formatting.code(row.pk)

    @admin.display(description="First event")
    def first_event(self, row: Any) -> str:
        return local_time(row.first_at)

    @admin.display(description="Last event")
    def last_event(self, row: Any) -> str:
        return local_time(row.last_at)
