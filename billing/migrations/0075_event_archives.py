"""The manifest of archived events."""

from decimal import Decimal

import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0074_anomalies"), ("organizations", "0014_lower_case_addresses")]

    operations = [
        migrations.CreateModel(
            name="EventArchive",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("month", models.DateField(help_text="First day of the month of receipt (UTC).")),
                ("location", models.CharField(help_text="A folder, or s3://bucket/prefix.", max_length=1000)),
                ("file_name", models.CharField(help_text="Below the location.", max_length=255)),
                ("replaced_file", models.CharField(blank=True, default="", max_length=255)),
                ("schema_version", models.PositiveSmallIntegerField()),
                ("began_at", models.DateTimeField()),
                ("archived_at", models.DateTimeField(null=True)),
                ("events", models.BigIntegerField(default=0)),
                ("size_bytes", models.BigIntegerField(default=0)),
                ("sha256", models.CharField(blank=True, default="", max_length=64)),
                ("requests", models.BigIntegerField(default=0)),
                ("unpriced", models.BigIntegerField(default=0)),
                ("cost_usd", models.DecimalField(decimal_places=24, default=Decimal(0), max_digits=60)),
                ("first_occurred_at", models.DateTimeField(null=True)),
                ("last_occurred_at", models.DateTimeField(null=True)),
                ("checked_at", models.DateTimeField(null=True)),
                ("problem", models.CharField(blank=True, default="", max_length=255)),
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
                "indexes": [models.Index(fields=["organization", "month"], name="event_archive_by_month")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "location", "file_name"), name="event_archive_once_per_file"
                    )
                ],
            },
        ),
        *run_sql_files(__file__, "event_archives"),
    ]
