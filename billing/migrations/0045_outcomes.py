"""Outcomes of runs and sessions."""

import django.db.models.deletion
from django.db import migrations, models

import costtrack.fields
from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0042_closed_months"), ("organizations", "0014_lower_case_addresses")]

    operations = [
        migrations.CreateModel(
            name="Outcome",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.UUIDField(editable=False)),
                ("outcome_id", costtrack.fields.dimension_field()),
                ("run_id", costtrack.fields.dimension_field()),
                ("session_id", costtrack.fields.dimension_field()),
                ("name", models.CharField(max_length=255)),
                ("is_success", models.BooleanField()),
                ("value_usd", costtrack.fields.optional_money_field()),
                ("attempt", models.PositiveIntegerField(default=1)),
                ("occurred_at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
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
                "constraints": [models.UniqueConstraint(fields=("organization", "key"), name="outcome_once")],
                "indexes": [
                    models.Index(fields=["organization", "-id"], name="outcome_newest"),
                    models.Index(
                        condition=models.Q(("run_id", ""), _negated=True),
                        fields=["organization", "run_id"],
                        name="outcome_of_run",
                    ),
                    models.Index(
                        condition=models.Q(("session_id", ""), _negated=True),
                        fields=["organization", "session_id"],
                        name="outcome_of_session",
                    ),
                ],
            },
        ),
        *run_sql_files(__file__, "outcomes"),
    ]
