"""Unusual spend, and notices about it."""

from typing import Any

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import costtrack.fields
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
    ("usage.anomaly", "Unusual spend"),
    ("webhook.disabled", "Webhook disabled"),
    ("export.ready", "Export ready"),
    ("export.failed", "Export failed"),
    ("month.closed", "Month closed"),
    ("report.spend", "Spend report"),
    ("test", "Test message"),
]
_SCOPES = [
    ("organization", "Organization"),
    ("credential", "Credential"),
    ("environment", "Environment"),
    ("user", "User"),
    ("end_user", "End user"),
    ("team", "Team"),
    ("tag", "Tag"),
    ("provider", "Provider"),
    ("model", "Model"),
    ("sent_model", "Model as sent"),
    ("capability", "Capability"),
    ("agent", "Agent"),
    ("workflow", "Workflow"),
    ("run", "Run"),
    ("session", "Session"),
]
_WINDOW: list[tuple[str, Any]] = [
    ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
    ("scope", models.CharField(choices=_SCOPES, max_length=16)),
    ("value", costtrack.fields.dimension_field()),
    ("unit", models.CharField(choices=[("hour", "Hour"), ("day", "Day")], max_length=4)),
    ("starts_at", models.DateTimeField()),
    ("ends_at", models.DateTimeField()),
    ("expected_usd", costtrack.fields.total_field()),
    ("low_usd", costtrack.fields.total_field()),
    ("high_usd", costtrack.fields.total_field()),
    ("actual_usd", costtrack.fields.total_field()),
    ("explained_by", models.JSONField(default=list)),
    (
        "organization",
        models.ForeignKey(
            db_index=False,
            on_delete=django.db.models.deletion.PROTECT,
            related_name="+",
            to="organizations.organization",
        ),
    ),
]


class Migration(migrations.Migration):
    dependencies = [("billing", "0073_team_hours"), ("organizations", "0014_lower_case_addresses")]

    operations = [
        migrations.AlterField(
            model_name="notice",
            name="kind",
            field=models.CharField(choices=_KINDS, max_length=32),
        ),
        migrations.AlterField(
            model_name="webhookendpoint",
            name="kinds",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(choices=_KINDS, max_length=32),
                default=list,
                help_text="Kinds of notices. Empty: all.",
                size=None,
            ),
        ),
        migrations.AlterField(
            model_name="notificationpreference",
            name="usage",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="A model has no price, usage was not read with certainty, spend is unusual, or a month is "
                "closed.",
            ),
        ),
        migrations.CreateModel(
            name="Anomaly",
            fields=[
                *((name, field.clone()) for name, field in _WINDOW),
                ("is_rise", models.BooleanField()),
                ("began_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField()),
                ("found_at", models.DateTimeField()),
                ("withdrawn_at", models.DateTimeField(null=True)),
                ("dismissed_at", models.DateTimeField(null=True)),
                ("dismissed_by", models.CharField(blank=True, db_default="", default="", max_length=254)),
            ],
            options={
                "verbose_name_plural": "anomalies",
                "indexes": [models.Index(fields=["organization", "-began_at", "-id"], name="anomaly_by_time")],
            },
        ),
        migrations.CreateModel(
            name="AnomalyWindow",
            fields=[
                *((name, field.clone()) for name, field in _WINDOW),
                (
                    "anomaly",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="windows",
                        to="billing.anomaly",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["organization", "anomaly"], name="anomaly_window_of_anomaly"),
                    models.Index(fields=["organization", "starts_at"], name="anomaly_window_by_time"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "scope", "value", "unit", "starts_at"), name="anomaly_window_once"
                    )
                ],
            },
        ),
        *run_sql_files(__file__, "anomalies"),
    ]
