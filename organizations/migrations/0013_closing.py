"""Organizations that are closing, and the deletion of their audit logs."""

import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("organizations", "0012_former_slugs"),
        ("billing", "0030_tenant_rights"),  # which revokes all rights that were granted before
    ]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="closes_at",
            field=models.DateTimeField(
                editable=False,
                help_text="When the deletion of its data begins. Null: it is not closing.",
                null=True,
            ),
        ),
        migrations.CreateModel(
            name="Closing",
            fields=[
                (
                    "organization",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="closing",
                        serialize=False,
                        to="organizations.organization",
                    ),
                ),
                ("closed_at", models.DateTimeField()),
                (
                    "closed_by",
                    models.CharField(help_text="Email address, or the Client ID of an operator.", max_length=254),
                ),
                ("reminded_at", models.DateTimeField(null=True)),
                ("deleted_rows", models.JSONField(default=dict, help_text="By table.")),
                (
                    "cost_usd",
                    models.CharField(blank=True, help_text="Of all usage, when the deletion began.", max_length=64),
                ),
            ],
        ),
        migrations.AlterField(
            model_name="accountemail",
            name="kind",
            field=models.CharField(
                choices=[
                    ("invitation", "Invitation"),
                    ("password_reset", "Password reset"),
                    ("security_notice", "Security notice"),
                    ("closing", "Organization is closing"),
                    ("closing_soon", "Organization closes soon"),
                    ("reopened", "Organization reopened"),
                    ("deleted", "Organization deleted"),
                ],
                max_length=16,
            ),
        ),
        *run_sql_files(__file__, "closing"),
    ]
