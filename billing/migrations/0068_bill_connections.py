"""Accounts of providers whose bills are fetched."""

import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0066_commitments_of_closed_months"), ("organizations", "0014_lower_case_addresses")]

    operations = [
        migrations.CreateModel(
            name="BillConnection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "provider",
                    models.CharField(
                        choices=[("openai", "OpenAI"), ("anthropic", "Anthropic"), ("openrouter", "OpenRouter")],
                        max_length=32,
                    ),
                ),
                ("account", models.CharField(blank=True, max_length=100)),
                ("key", models.TextField(editable=False)),
                ("key_changed_at", models.DateTimeField()),
                (
                    "actor",
                    models.CharField(help_text="Who entered the key: an email address or Client ID.", max_length=254),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Fetching"),
                            ("retrying", "Trying again"),
                            ("done", "Fetched"),
                            ("failed", "Failed"),
                        ],
                        default="queued",
                        max_length=8,
                    ),
                ),
                ("progress", models.CharField(blank=True, max_length=100)),
                ("error", models.CharField(blank=True, max_length=400)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("next_fetch_at", models.DateTimeField(null=True)),
                ("claimed_until", models.DateTimeField(null=True)),
                ("fetched_at", models.DateTimeField(null=True)),
                ("days", models.PositiveSmallIntegerField(default=0)),
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
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "provider", "account"), name="bill_connection_once")
                ],
            },
        ),
        *run_sql_files(__file__, "bill_connections"),
    ]
