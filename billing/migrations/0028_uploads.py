"""Files of usage that are uploaded in the admin."""

from decimal import Decimal

import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0027_covered_spend"),
        ("organizations", "0010_security_log"),
    ]

    operations = [
        migrations.CreateModel(
            name="Upload",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(editable=False)),
                ("actor", models.CharField(editable=False, help_text="Email address.", max_length=254)),
                ("file_name", models.CharField(editable=False, max_length=255)),
                ("size", models.PositiveBigIntegerField(editable=False)),
                ("digest", models.CharField(editable=False, help_text="SHA-256 of the file's content.", max_length=64)),
                ("format", models.CharField(editable=False, max_length=32)),
                ("records", models.PositiveIntegerField(editable=False)),
                ("column_names", models.JSONField(default=list, editable=False)),
                ("mapping", models.JSONField(default=dict, editable=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("uploaded", "Uploaded"),
                            ("checking", "Being checked"),
                            ("checked", "Checked"),
                            ("importing", "Being imported"),
                            ("imported", "Imported"),
                            ("failed", "Failed"),
                        ],
                        default="uploaded",
                        editable=False,
                        max_length=9,
                    ),
                ),
                ("touched_at", models.DateTimeField(editable=False)),
                ("finished_at", models.DateTimeField(editable=False, null=True)),
                ("position", models.PositiveIntegerField(default=0, editable=False)),
                ("accepted", models.PositiveIntegerField(default=0, editable=False)),
                ("duplicates", models.PositiveIntegerField(default=0, editable=False)),
                ("conflicts", models.PositiveIntegerField(default=0, editable=False)),
                ("rejected", models.PositiveIntegerField(default=0, editable=False)),
                ("unpriced", models.PositiveIntegerField(default=0, editable=False)),
                ("cost_usd", models.DecimalField(decimal_places=24, default=Decimal(0), max_digits=60)),
                ("unpriced_models", models.JSONField(default=list, editable=False)),
                ("first_at", models.DateTimeField(editable=False, null=True)),
                ("last_at", models.DateTimeField(editable=False, null=True)),
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
                "verbose_name": "file",
            },
        ),
        migrations.CreateModel(
            name="UploadChunk",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("first", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
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
                    "upload",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="chunks",
                        to="billing.upload",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="UploadError",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("index", models.PositiveIntegerField()),
                ("location", models.CharField(max_length=255)),
                ("event_id", models.CharField(blank=True, max_length=255)),
                ("field", models.CharField(blank=True, max_length=255)),
                ("code", models.CharField(max_length=64)),
                ("message", models.CharField(max_length=500)),
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
                    "upload",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="errors",
                        to="billing.upload",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="upload",
            index=models.Index(fields=["organization", "-id"], name="upload_of_organization"),
        ),
        migrations.AddConstraint(
            model_name="uploadchunk",
            constraint=models.UniqueConstraint(fields=("organization", "upload", "first"), name="upload_chunk_once"),
        ),
        migrations.AddConstraint(
            model_name="uploaderror",
            constraint=models.UniqueConstraint(fields=("organization", "upload", "index"), name="upload_error_once"),
        ),
        *run_sql_files(__file__, "uploads"),
    ]
