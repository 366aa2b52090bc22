"""Subscriptions and provisioned capacity."""

import django.db.models.deletion
from django.db import migrations, models

import costtrack.fields
from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0046_allocation_rules"), ("organizations", "0014_lower_case_addresses")]

    operations = [
        migrations.CreateModel(
            name="Commitment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[("subscription", "Subscription"), ("provisioned", "Provisioned capacity")],
                        max_length=16,
                    ),
                ),
                ("amount_usd", costtrack.fields.money_field()),
                (
                    "period",
                    models.CharField(
                        choices=[("hour", "Hour"), ("day", "Day"), ("month", "Month"), ("year", "Year")], max_length=8
                    ),
                ),
                ("starts", models.DateField()),
                ("ends", models.DateField(null=True)),
                ("covers", models.JSONField(default=dict)),
                ("tokens_per_minute", models.BigIntegerField(null=True)),
                ("actor", models.CharField(max_length=254)),
                ("created_at", models.DateTimeField()),
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
                "indexes": [models.Index(fields=["organization", "starts", "id"], name="commitment_by_start")],
            },
        ),
        *run_sql_files(__file__, "commitments"),
    ]
