"""Credits and refunds of providers that belong to no single event."""

import django.db.models.deletion
from django.db import migrations, models

import costtrack.fields
from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0016_caps"), ("organizations", "0003_plans")]

    operations = [
        migrations.AlterField(
            model_name="usageevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("model_call", "Model call"),
                    ("tool_call", "Tool call"),
                    ("compute", "Compute"),
                    ("session_summary", "Session summary"),
                    ("adjustment", "Adjustment"),
                    ("credit", "Credit"),
                ],
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="Credit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("amount_usd", costtrack.fields.money_field()),
                ("reason", models.CharField(max_length=255)),
                ("start", models.DateTimeField()),
                ("end", models.DateTimeField()),
                ("dimensions", models.JSONField(default=dict)),
                ("actor", models.CharField(max_length=254)),
                ("created_at", models.DateTimeField()),
                ("batch_id", models.UUIDField(editable=False)),
                ("voided_at", models.DateTimeField(null=True)),
                ("voided_by", models.CharField(blank=True, max_length=254)),
                ("void_reason", models.CharField(blank=True, max_length=255)),
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
            options={"indexes": [models.Index(fields=["organization", "-id"], name="credit_of_organization")]},
        ),
        *run_sql_files(__file__, "credits"),
    ]
