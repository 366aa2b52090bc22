"""App configurations: the project's own app, which registers checks, and the admin site that replaces Django's."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class CosttrackConfig(AppConfig):
    name = "costtrack"
    verbose_name = "costtrack"

    def ready(self) -> None:
        from costtrack import checks  # noqa: F401 - registers the system checks
        from costtrack.health import registry
        from costtrack.health.queues import queue_checks, worker_checks
        from costtrack.health.servers import database_checks, redis_checks

        registry.register("database", database_checks, needed_for_requests=True)
        registry.register("redis", redis_checks, needed_for_requests=True)
        registry.register("queues", queue_checks, needed_for_requests=True)
        registry.register("workers", worker_checks, needed_for_requests=False)


class AdminConfig(DjangoAdminConfig):
    default_site = "costtrack.admin_site.CosttrackAdminSite"
