"""Senders whose metrics are their usage."""

import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0034_completed_unpriced_events"),
        ("organizations", "0012_former_slugs"),
    ]

    operations = [
        migrations.CreateModel(
            name="MetricSender",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(help_text="Its `service.name`.", max_length=255, verbose_name="sender")),
                ("metric", models.CharField(blank=True, editable=False, max_length=64)),
                ("created_at", models.DateTimeField(editable=False)),
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
                "constraints": [models.UniqueConstraint(fields=("organization", "name"), name="metric_sender_once")]
            },
        ),
        *run_sql_files(__file__, "metric_senders"),
    ]
