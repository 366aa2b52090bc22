"""App configurations: the project's own app, which registers checks, and the admin site that replaces Django's."""

from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core.checks import CheckMessage, Tags, register


class CosttrackConfig(AppConfig):
    name = "costtrack"
    verbose_name = "costtrack"

    def ready(self) -> None:
        from costtrack import checks  # noqa: F401 - registers the system checks
        from costtrack.database.replica import is_configured
        from costtrack.health import registry
        from costtrack.health.queues import queue_checks, worker_checks
        from costtrack.health.servers import database_checks, redis_checks, replica_checks

        registry.register("database", database_checks, needed_for_requests=True)
        if is_configured():
            registry.register("replica", replica_checks, needed_for_requests=True)
        registry.register("redis", redis_checks, needed_for_requests=True)
        registry.register("queues", queue_checks, needed_for_requests=True)
        registry.register("workers", worker_checks, needed_for_requests=False)


class AdminConfig(SimpleAdminConfig):
    """`costtrack.urls` imports the admin modules. Workers and most commands do not need them and start faster."""

    default_site = "costtrack.admin_site.CosttrackAdminSite"

    def ready(self) -> None:
        register(check_dependencies, Tags.admin)
        register(_admins_are_valid, Tags.admin)


def _admins_are_valid(**options: Any) -> list[CheckMessage]:
    import_module("costtrack.urls")
    return check_admin_app(**options)
