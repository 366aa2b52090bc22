"""Reads whose cost does not follow the ledger: unfolded events are found by a state, and workflows have a rollup."""

from decimal import Decimal

import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_single_calls"), ("organizations", "0003_plans")]

    operations = [
        migrations.CreateModel(
            name="LiveWorkflowDay",
            fields=[
                ("archived", models.BooleanField()),
                ("requests", models.BigIntegerField()),
                ("unpriced", models.BigIntegerField()),
                ("input_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                ("cache_read_tokens", models.BigIntegerField()),
                ("cache_creation_tokens", models.BigIntegerField()),
                ("token_cost_usd", models.DecimalField(decimal_places=24, default=Decimal(0), max_digits=60)),
                ("compute_cost_usd", models.DecimalField(decimal_places=24, default=Decimal(0), max_digits=60)),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "organization",
                        "workflow_id",
                        "day",
                        "service",
                        "cost_group",
                        "archived",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("workflow_id", models.CharField(max_length=255)),
                ("day", models.DateField()),
                ("service", models.CharField(max_length=255)),
                ("cost_group", models.CharField(max_length=255)),
            ],
            options={"managed": False},
        ),
        migrations.CreateModel(
            name="WorkflowDay",
            fields=[
                ("archived", models.BooleanField()),
                ("requests", models.BigIntegerField()),
                ("unpriced", models.BigIntegerField()),
                ("input_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                ("cache_read_tokens", models.BigIntegerField()),
                ("cache_creation_tokens", models.BigIntegerField()),
                ("token_cost_usd", models.DecimalField(decimal_places=24, default=Decimal(0), max_digits=60)),
                ("compute_cost_usd", models.DecimalField(decimal_places=24, default=Decimal(0), max_digits=60)),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "organization",
                        "workflow_id",
                        "day",
                        "service",
                        "cost_group",
                        "archived",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("workflow_id", models.CharField(max_length=255)),
                ("day", models.DateField()),
                ("service", models.CharField(max_length=255)),
                ("cost_group", models.CharField(max_length=255)),
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
            name="LiveWorkflowTotal",
            fields=[
                ("archived", models.BooleanField()),
                ("requests", models.BigIntegerField()),
                ("unpriced", models.BigIntegerField()),
                ("input_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                ("cache_read_tokens", models.BigIntegerField()),
                ("cache_creation_tokens", models.BigIntegerField()),
                ("token_cost_usd", models.DecimalField(decimal_places=24, default=Decimal(0), max_digits=60)),
                ("compute_cost_usd", models.DecimalField(decimal_places=24, default=Decimal(0), max_digits=60)),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "organization",
                        "workflow_id",
                        "service",
                        "cost_group",
                        "archived",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("workflow_id", models.CharField(max_length=255)),
                ("service", models.CharField(max_length=255)),
                ("cost_group", models.CharField(max_length=255)),
            ],
            options={"managed": False},
        ),
        migrations.CreateModel(
            name="WorkflowTotal",
            fields=[
                ("archived", models.BooleanField()),
                ("requests", models.BigIntegerField()),
                ("unpriced", models.BigIntegerField()),
                ("input_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                ("cache_read_tokens", models.BigIntegerField()),
                ("cache_creation_tokens", models.BigIntegerField()),
                ("token_cost_usd", models.DecimalField(decimal_places=24, default=Decimal(0), max_digits=60)),
                ("compute_cost_usd", models.DecimalField(decimal_places=24, default=Decimal(0), max_digits=60)),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "organization",
                        "workflow_id",
                        "service",
                        "cost_group",
                        "archived",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("workflow_id", models.CharField(max_length=255)),
                ("service", models.CharField(max_length=255)),
                ("cost_group", models.CharField(max_length=255)),
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
        migrations.AddField(
            model_name="run",
            name="folded_workflow_id",
            field=models.CharField(blank=True, db_default="", default="", editable=False, max_length=255),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("folded_workflow_id", models.F("workflow_id")), _negated=True),
                fields=["organization"],
                name="run_workflow_changed",
            ),
        ),
        *run_sql_files(__file__, "unfolded_state", "workflows"),
    ]
