"""What the ledger counts gets columns, defaults of the database, and a table for the keys of events."""

import django.contrib.postgres.fields
import django.db.models.deletion
import uuid
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0002_database_rules"),
    ]

    operations = [
        migrations.CreateModel(
            name="EventKey",
            fields=[
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
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "organization", "key", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("key", models.UUIDField()),
                ("event_id", models.UUIDField()),
                ("payload_hash", models.BigIntegerField()),
            ],
        ),
        migrations.AddField(
            model_name="ingestbatch",
            name="last_event_id",
            field=models.UUIDField(default=uuid.UUID("00000000-0000-0000-0000-000000000000"), editable=False),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="usageevent",
            name="requests",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="tool_calls",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="turns",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="unpriced",
            field=models.IntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AlterField(
            model_name="ingestbatch",
            name="cost_usd",
            field=models.DecimalField(decimal_places=24, default=Decimal("0"), max_digits=60),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="adjustment_reason",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="agent_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="agent_name",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="audio_input_tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="audio_output_tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="cache_creation_1h_tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="cache_creation_tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="cache_read_tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="capability",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="compute_cost_usd",
            field=models.DecimalField(db_default=Decimal("0"), decimal_places=24, default=Decimal("0"), max_digits=36),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="cost_group",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="end_user",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="endpoint",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="event_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="execution_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="group_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="group_name",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="input_tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="model",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="output_tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="phase_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="reasoning_tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="request_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="run_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="service",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="session_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="status",
            field=models.CharField(
                choices=[("success", "Success"), ("failure", "Failure")],
                db_default="success",
                default="success",
                max_length=8,
            ),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="tags",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=255),
                db_default=models.Value(
                    [], django.contrib.postgres.fields.ArrayField(base_field=models.CharField(), size=None)
                ),
                default=list,
                size=None,
            ),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="tool",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="tool_result_tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="tool_use_tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="unpriced_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("no_model", "The event names no model"),
                    ("no_price", "No price covers the model at that time"),
                    ("no_unit_price", "The price lacks a unit price for some of the tokens"),
                    ("no_usage", "A successful call without token counts"),
                ],
                db_default="",
                default="",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="user_ref",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="workflow_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AlterField(
            model_name="usageevent",
            name="workspace_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
    ]
