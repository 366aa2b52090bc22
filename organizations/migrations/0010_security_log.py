"""The security log."""

import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("organizations", "0009_memberships")]

    operations = [
        migrations.CreateModel(
            name="SecurityEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("signed_in", "Signed in"),
                            ("signed_out", "Signed out"),
                            ("sign_in_failed", "Sign-in failed"),
                            ("locked_out", "Too many attempts"),
                            ("reset_requested", "Password reset requested"),
                            ("password_changed", "Password changed"),
                            ("factor_failed", "Second factor failed"),
                            ("factor_added", "Second factor added"),
                            ("factor_removed", "Second factor removed"),
                        ],
                        max_length=32,
                    ),
                ),
                ("at", models.DateTimeField()),
                ("email", models.CharField(blank=True, max_length=254)),
                ("address", models.CharField(help_text="Network address of the client.", max_length=64)),
                ("detail", models.CharField(blank=True, max_length=64)),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        django.db.models.functions.text.Lower("email"),
                        models.OrderBy(models.F("at"), descending=True),
                        name="security_event_of_email",
                    ),
                    models.Index(fields=["at"], name="security_event_expiry"),
                ],
            },
        ),
        *run_sql_files(__file__, "security_log"),
    ]
