"""The billing app: the ledger of AI spend, prices, limits, notifications and reports."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"
    verbose_name = "Billing"

    def ready(self) -> None:
        from billing.archive_checks import file_checks
        from billing.limits.increases import withdraw_requests
        from billing.limits.plans import apply_plan
        from billing.reports.archive_health import archive_checks
        from billing.reports.delivery_health import delivery_checks
        from billing.reports.health import rollup_checks
        from billing.reports.intake_health import intake_checks
        from billing.reports.limit_health import limit_checks
        from costtrack.health import registry
        from organizations import hooks

        hooks.plan_changed.register(apply_plan)
        hooks.membership_ends.register(withdraw_requests)
        registry.register("intake", intake_checks, needed_for_requests=False)
        registry.register("rollups", rollup_checks, needed_for_requests=False)
        registry.register("limits", limit_checks, needed_for_requests=False)
        registry.register("deliveries", delivery_checks, needed_for_requests=False)
        registry.register("archive", archive_checks, needed_for_requests=False)
        registry.register_thorough("archive_files", file_checks)
