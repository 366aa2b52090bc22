"""Requests with an `Idempotency-Key` and their responses."""

import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("organizations", "0004_check_credential")]

    operations = [
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                (
                    "digest",
                    models.UUIDField(
                        help_text="Of the organization, the caller and the key.", primary_key=True, serialize=False
                    ),
                ),
                ("request_hash", models.BigIntegerField(help_text="Of path and body.")),
                (
                    "status",
                    models.PositiveSmallIntegerField(help_text="Null: the response is not stored.", null=True),
                ),
                ("response", models.TextField(blank=True, help_text="The body of the response, encrypted.")),
                ("created_at", models.DateTimeField()),
                (
                    "organization",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["organization", "created_at"], name="idempotency_key_by_time")],
            },
        ),
        *run_sql_files(__file__, "idempotency_keys"),
    ]
