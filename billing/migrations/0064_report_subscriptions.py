"""Reports of spend by email, to which members subscribe."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files

_KINDS = [
    ("limit.threshold_reached", "Limit nearly reached"),
    ("limit.paused", "Access paused"),
    ("limit.exceeded", "Limit exceeded"),
    ("limit.resumed", "Access resumed"),
    ("increase.requested", "Increase requested"),
    ("increase.granted", "Increase approved"),
    ("increase.declined", "Increase declined"),
    ("usage.unpriced", "Model without a price"),
    ("usage.flagged", "Usage needs a review"),
    ("webhook.disabled", "Webhook disabled"),
    ("export.ready", "Export ready"),
    ("export.failed", "Export failed"),
    ("month.closed", "Month closed"),
    ("report.spend", "Spend report"),
    ("test", "Test message"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0061_run_times"),
        ("organizations", "0014_lower_case_addresses"),
    ]

    operations = [
        migrations.AlterField("notice", "kind", models.CharField(choices=_KINDS, max_length=32)),
        migrations.AlterField(
            "webhookendpoint",
            "kinds",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(choices=_KINDS, max_length=32),
                default=list,
                help_text="Kinds of notices. Empty: all.",
                size=None,
            ),
        ),
        migrations.CreateModel(
            name="ReportSubscription",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "frequency",
                    models.CharField(choices=[("weekly", "Weekly"), ("monthly", "Monthly")], max_length=8),
                ),
                (
                    "scope",
                    models.CharField(
                        choices=[("organization", "Organization"), ("team", "Team"), ("tag", "Tag")], max_length=16
                    ),
                ),
                (
                    "value",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="The team or the tag; empty for the organization.",
                        max_length=255,
                    ),
                ),
                (
                    "last_period",
                    models.DateField(
                        help_text="The first day of the last period whose report was written, or that had ended at the"
                        " beginning."
                    ),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "membership",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="organizations.membership",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "membership", "frequency", "scope", "value"),
                        name="report_subscription_once",
                    )
                ],
            },
        ),
        *run_sql_files(__file__, "report_subscriptions"),
    ]
