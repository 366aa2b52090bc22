"""The audit log and the security log (read-only)."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from organizations.admin_base import OperatorAdmin, OrganizationScopedAdmin, labeled
from organizations.models import AuditEntry, SecurityEvent
from organizations.permissions import AUDIT_LOG

_TIME = labeled("at", "Time")


@admin.register(AuditEntry)
class AuditEntryAdmin(OrganizationScopedAdmin):
    resource = AUDIT_LOG
    read_only = True
    select_related = ("organization",)
    list_display = (_TIME, "actor", "action", "subject", "organization")
    fields = (_TIME, "organization", "actor", "action", "subject", "details")
    readonly_fields = (_TIME,)
    list_filter = ("organization",)
    search_fields = ("actor", "action", "subject")
    ordering = ("-id",)


@admin.register(SecurityEvent)
class SecurityEventAdmin(OperatorAdmin):
    list_display = (_TIME, "kind", "email", "address", "detail")
    list_filter = ("kind",)
    search_fields = ("email", "address")
    ordering = ("-at", "-id")
    fields = (_TIME, "kind", "email", "address", "detail")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
