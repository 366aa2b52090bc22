"""The organizations app: users, organizations and their permissions."""

from django.apps import AppConfig


class OrganizationsConfig(AppConfig):
    name = "organizations"
    verbose_name = "Organizations"

    def ready(self) -> None:
        from costtrack.health import registry
        from organizations.accounts import security_events
        from organizations.accounts.health import account_email_checks
        from organizations.rate_limits import rate_limit_checks

        security_events.connect()
        registry.register("account_emails", account_email_checks, needed_for_requests=False)
        registry.register("rate_limits", rate_limit_checks, needed_for_requests=False)
