"""Back-tests of forecasts."""

import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0061_run_times")]

    operations = [
        migrations.CreateModel(
            name="ForecastCheck",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "organization", "scope", "value", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "scope",
                    models.CharField(
                        choices=[
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
                        ],
                        max_length=16,
                    ),
                ),
                ("value", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("checked_at", models.DateTimeField()),
                ("horizons", models.JSONField(default=list)),
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
            options={"abstract": False},
        ),
        *run_sql_files(__file__, "forecast_checks"),
    ]
