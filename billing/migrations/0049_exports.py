"""Files that are created in the background."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0047_commitments"),
        ("organizations", "0014_lower_case_addresses"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Export",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(editable=False)),
                (
                    "actor",
                    models.CharField(editable=False, help_text="Email address or Client ID.", max_length=254),
                ),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=32), default=list, editable=False, size=None
                    ),
                ),
                ("is_of_operator", models.BooleanField(default=False, editable=False)),
                ("required_scope", models.CharField(blank=True, editable=False, max_length=32)),
                ("title", models.CharField(editable=False, max_length=100)),
                ("file_name", models.CharField(editable=False, max_length=255)),
                (
                    "format",
                    models.CharField(
                        choices=[("csv", "CSV"), ("parquet", "Parquet"), ("json", "JSON")],
                        editable=False,
                        max_length=7,
                    ),
                ),
                ("query", models.JSONField(editable=False)),
                ("columns", models.JSONField(default=list, editable=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Being created"),
                            ("ready", "Ready"),
                            ("failed", "Failed"),
                            ("canceled", "Canceled"),
                            ("expired", "Expired"),
                        ],
                        default="queued",
                        editable=False,
                        max_length=8,
                    ),
                ),
                ("position", models.TextField(blank=True, editable=False)),
                ("parts", models.PositiveIntegerField(default=0, editable=False)),
                ("rows", models.PositiveBigIntegerField(default=0, editable=False)),
                ("total", models.PositiveBigIntegerField(editable=False, null=True)),
                ("stored_bytes", models.PositiveBigIntegerField(default=0, editable=False)),
                ("touched_at", models.DateTimeField(editable=False)),
                ("finished_at", models.DateTimeField(editable=False, null=True)),
                ("expires_at", models.DateTimeField(editable=False, null=True)),
                ("error", models.CharField(blank=True, editable=False, max_length=500)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ExportPart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
                (
                    "export",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="billing.export",
                    ),
                ),
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
        ),
        migrations.AddIndex(
            model_name="export",
            index=models.Index(fields=["organization", "-id"], name="export_of_organization"),
        ),
        migrations.AddConstraint(
            model_name="exportpart",
            constraint=models.UniqueConstraint(fields=("organization", "export", "number"), name="export_part_once"),
        ),
        *run_sql_files(__file__, "exports"),
    ]
