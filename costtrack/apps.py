"""The project's own app (checks, templates' home) and the admin site that replaces Django's."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class CosttrackConfig(AppConfig):
    name = "costtrack"
    verbose_name = "costtrack"

    def ready(self) -> None:
        from costtrack import checks  # noqa: F401 - registers the system checks


class AdminConfig(DjangoAdminConfig):
    default_site = "costtrack.admin_site.CosttrackAdminSite"
