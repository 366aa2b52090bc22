"""Metrics are compared with the logs and spans of their sender."""

import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0024_detail_rollups"), ("organizations", "0003_plans")]

    operations = [
        migrations.CreateModel(
            name="Coverage",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "organization",
                        "source",
                        "signal",
                        "hour",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("source", models.CharField(max_length=255)),
                ("signal", models.CharField(max_length=64)),
                ("hour", models.DateTimeField()),
                ("tokens", models.BigIntegerField()),
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
            options={"abstract": False},
        ),
        migrations.CreateModel(
            name="MetricPoint",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "organization", "key", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("key", models.UUIDField()),
                ("ends_at", models.BigIntegerField()),
                ("tokens", models.BigIntegerField()),
                ("received_at", models.DateTimeField()),
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
            options={"abstract": False},
        ),
        *run_sql_files(__file__, "coverage"),
    ]
