"""The audit log (read-only)."""

from django.contrib import admin

from organizations.admin_base import OrganizationScopedAdmin
from organizations.models import AuditEntry
from organizations.permissions import AUDIT_LOG


@admin.register(AuditEntry)
class AuditEntryAdmin(OrganizationScopedAdmin):
    resource = AUDIT_LOG
    read_only = True
    select_related = ("organization",)
    list_display = ("at", "actor", "action", "subject", "organization")
    list_filter = ("organization",)
    search_fields = ("actor", "action", "subject")
    ordering = ("-id",)
