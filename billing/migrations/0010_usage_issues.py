"""Models without a price and flagged usage are found once, with a notice."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0009_exact_amounts"),
        ("organizations", "0003_plans"),
    ]

    operations = [
        migrations.AddField(
            model_name="notificationpreference",
            name="usage",
            field=models.BooleanField(
                db_default=True, default=True, help_text="A model has no price, or usage was not read with certainty."
            ),
        ),
        migrations.AlterField(
            model_name="notice",
            name="kind",
            field=models.CharField(
                choices=[
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
                    ("test", "Test message"),
                ],
                max_length=32,
            ),
        ),
        migrations.AlterField(
            model_name="webhookendpoint",
            name="kinds",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[
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
                        ("test", "Test message"),
                    ],
                    max_length=32,
                ),
                default=list,
                help_text="Kinds of notices. Empty: all.",
                size=None,
            ),
        ),
        migrations.CreateModel(
            name="UsageIssue",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.CharField(max_length=32)),
                ("service", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("model", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("detail", models.TextField(blank=True, db_default="", default="")),
                ("event_id", models.UUIDField(help_text="The first event in the ledger.")),
                ("occurred_at", models.DateTimeField()),
                ("notified_at", models.DateTimeField(null=True)),
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
                "indexes": [
                    models.Index(
                        condition=models.Q(("notified_at", None)), fields=["organization"], name="usage_issue_pending"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "code", "service", "model"), name="usage_issue_once"
                    )
                ],
            },
        ),
        *run_sql_files(__file__, "usage_issues"),
    ]
