"""The billing app: what it cost."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"
    verbose_name = "Billing"

    def ready(self) -> None:
        from billing.reports.health import rollup_checks
        from costtrack.health import registry

        registry.register("rollups", rollup_checks, needed_for_requests=False)
