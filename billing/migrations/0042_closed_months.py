"""Closed months, late events and the notice of a closed month."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0041_notice_readings"),
        ("organizations", "0014_lower_case_addresses"),
    ]

    operations = [
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
                    ("month.closed", "Month closed"),
                    ("test", "Test message"),
                ],
                max_length=32,
            ),
        ),
        migrations.AlterField(
            model_name="notificationpreference",
            name="usage",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="A model has no price, usage was not read with certainty, or a month is closed.",
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
                        ("month.closed", "Month closed"),
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
            name="ClosedMonth",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "organization", "month", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("month", models.DateField(help_text="First day of the month.")),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("time_zone", models.CharField(max_length=64)),
                ("closed_at", models.DateTimeField()),
                ("closed_by", models.CharField(help_text="Email address or Client ID.", max_length=254)),
                ("organization_name", models.CharField(max_length=120)),
                ("credential_names", models.JSONField(default=dict, help_text="By Client ID.")),
                ("limits_history", models.JSONField(default=list)),
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
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="LateEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "organization", "event_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("event_id", models.UUIDField()),
                ("month", models.DateField(help_text="First day of the closed month.")),
                (
                    "booked_month",
                    models.DateField(help_text="First day of the month in whose statement the row counts."),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["organization", "month"], name="late_event_of_month"),
                    models.Index(fields=["organization", "booked_month"], name="late_event_booked"),
                ],
            },
        ),
        *run_sql_files(__file__, "closed_months"),
    ]
