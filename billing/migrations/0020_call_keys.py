"""The identity of calls across sources: a call that several sources report is one event."""

import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0017_credits"), ("organizations", "0003_plans")]

    operations = [
        migrations.CreateModel(
            name="CallKey",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "organization", "key", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("key", models.UUIDField()),
                ("event_id", models.UUIDField()),
                ("source", models.CharField(max_length=64)),
                ("provider", models.CharField(blank=True, max_length=255)),
                ("model", models.CharField(blank=True, max_length=255)),
                ("input_tokens", models.BigIntegerField()),
                ("cached_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                ("reasoning_tokens", models.BigIntegerField()),
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
        *run_sql_files(__file__, "call_keys", "match_calls", "write_events", "append_batches"),
    ]
