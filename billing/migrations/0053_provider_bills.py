"""Bills of providers."""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

import costtrack.fields
from costtrack.database.sql_files import run_sql_files

_FORMATS = [
    ("openai_costs", "OpenAI costs"),
    ("openai_usage", "OpenAI usage"),
    ("anthropic_costs", "Anthropic costs"),
    ("anthropic_usage", "Anthropic usage"),
    ("openrouter_activity", "OpenRouter activity"),
    ("csv", "CSV"),
]
_REPORTS = [("costs", "Costs"), ("usage", "Usage")]


def _id() -> Any:
    return models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


def _organization() -> Any:
    return models.ForeignKey(
        db_index=False,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to="organizations.organization",
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0051_forecast_checks"), ("organizations", "0014_lower_case_addresses")]

    operations = [
        migrations.CreateModel(
            name="BillImport",
            fields=[
                ("id", _id()),
                ("provider", models.CharField(max_length=64)),
                ("account", models.CharField(blank=True, max_length=100)),
                ("format", models.CharField(choices=_FORMATS, max_length=32)),
                ("file_name", models.CharField(blank=True, max_length=255)),
                ("digest", models.CharField(max_length=64)),
                ("first_day", models.DateField()),
                ("last_day", models.DateField()),
                ("row_count", models.PositiveIntegerField()),
                ("amount_usd", costtrack.fields.optional_money_field()),
                ("fetched_at", models.DateTimeField()),
                ("actor", models.CharField(max_length=254)),
                ("created_at", models.DateTimeField()),
                ("organization", _organization()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["organization", "-id"], name="bill_import_newest"),
                    models.Index(fields=["organization", "digest"], name="bill_import_by_digest"),
                ],
            },
        ),
        migrations.CreateModel(
            name="BillDay",
            fields=[
                ("id", _id()),
                ("provider", models.CharField(max_length=64)),
                ("account", models.CharField(blank=True, max_length=100)),
                ("report", models.CharField(choices=_REPORTS, max_length=8)),
                ("day", models.DateField()),
                ("import_id", models.BigIntegerField()),
                ("digest", models.CharField(max_length=64)),
                ("agreed_since", models.DateTimeField(null=True)),
                ("fetched_at", models.DateTimeField()),
                ("organization", _organization()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "provider", "account", "report", "day"), name="bill_day_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BillRow",
            fields=[
                ("id", _id()),
                ("provider", models.CharField(max_length=64)),
                ("account", models.CharField(blank=True, max_length=100)),
                ("report", models.CharField(choices=_REPORTS, max_length=8)),
                ("day", models.DateField()),
                ("key", models.CharField(blank=True, max_length=255)),
                ("model", models.CharField(blank=True, max_length=255)),
                ("kind", models.CharField(blank=True, max_length=32)),
                ("quantity", models.DecimalField(decimal_places=6, max_digits=36, null=True)),
                ("amount_usd", costtrack.fields.optional_money_field()),
                ("organization", _organization()),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["organization", "provider", "day", "account", "report"], name="bill_row_by_day"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BillKey",
            fields=[
                ("id", _id()),
                ("provider", models.CharField(max_length=64)),
                ("key", models.CharField(max_length=255)),
                ("client_id", models.CharField(blank=True, max_length=64)),
                ("organization", _organization()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "provider", "key"), name="bill_key_once")
                ],
            },
        ),
        *run_sql_files(__file__, "provider_bills"),
    ]
