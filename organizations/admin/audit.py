"""The audit log (read-only)."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from organizations.admin_base import OrganizationScopedAdmin
from organizations.models import AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(OrganizationScopedAdmin):
    read_only = True
    list_display = ("at", "actor", "action", "subject", "organization")
    list_filter = ("organization",)
    search_fields = ("actor", "action", "subject")
    ordering = ("-id",)

    def narrow(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.select_related("organization")
