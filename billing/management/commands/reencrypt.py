"""`manage.py reencrypt`: encrypts stored secrets with the current SECRET_KEY, so that an earlier one can be removed
from SECRET_KEY_FALLBACKS (docs/secrets.md)."""

from typing import Any

from django.core.management.base import CommandError

from billing.notifications.webhooks import reencrypt_webhooks
from billing.provider_bills.bill_connections import reencrypt_connections
from costtrack.database.commands import SchemaCommand
from organizations.accounts.second_factor_secrets import reencrypt_second_factors


class Command(SchemaCommand):
    help = (
        "Encrypt webhook secrets, keys of providers and second factors with the current COSTTRACK_SECRET_KEY. Safe to"
        " repeat. Exit code 1: some cannot be decrypted with any configured key."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        del args, options
        unreadable = 0
        for name, result in {
            "webhooks": reencrypt_webhooks(),
            "provider connections": reencrypt_connections(),
            "second factors": reencrypt_second_factors(),
        }.items():
            self.stdout.write(f"{name}: {result.encrypted:,} encrypted, {result.unreadable:,} unreadable")
            unreadable += result.unreadable
        if unreadable:
            raise CommandError(
                f"{unreadable:,} were encrypted with a key that is not configured. Add it to"
                " COSTTRACK_SECRET_KEY_FALLBACKS, or rotate these webhooks, enter these keys again and remove these"
                " second factors."
            )
