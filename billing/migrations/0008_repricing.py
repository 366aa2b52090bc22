"""Repricings, with their row-level security."""

from decimal import Decimal

import django.db.models.deletion
from django.db import migrations, models

OWN = "organization_id = ANY ((SELECT costtrack_organizations())::bigint[])"
STATES = [("queued", "Queued"), ("running", "Running"), ("done", "Done"), ("failed", "Failed")]


class Migration(migrations.Migration):
    dependencies = [("billing", "0007_maintenance"), ("organizations", "0004_audit_append_only")]

    operations = [
        migrations.CreateModel(
            name="Repricing",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField(editable=False)),
                (
                    "actor",
                    models.CharField(
                        editable=False, help_text="An e-mail address, a Client ID, or 'system'.", max_length=254
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=255)),
                ("dry_run", models.BooleanField(default=True, editable=False)),
                ("start", models.DateTimeField()),
                ("end", models.DateTimeField()),
                ("service", models.CharField(blank=True, max_length=255)),
                ("model", models.CharField(blank=True, max_length=255)),
                ("state", models.CharField(choices=STATES, default="queued", editable=False, max_length=8)),
                ("touched_at", models.DateTimeField(editable=False)),
                ("finished_at", models.DateTimeField(editable=False, null=True)),
                ("total", models.PositiveBigIntegerField(editable=False, null=True)),
                ("last_occurred_at", models.DateTimeField(editable=False, null=True)),
                ("last_event_id", models.UUIDField(editable=False, null=True)),
                ("events", models.PositiveBigIntegerField(default=0, editable=False)),
                ("changed", models.PositiveBigIntegerField(default=0, editable=False)),
                ("left_alone", models.PositiveBigIntegerField(default=0, editable=False)),
                ("old_usd", models.DecimalField(decimal_places=24, default=Decimal(0), max_digits=60)),
                ("new_usd", models.DecimalField(decimal_places=24, default=Decimal(0), max_digits=60)),
                ("by_model", models.JSONField(default=list, editable=False)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="repricings",
                        to="organizations.organization",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["organization", "-id"], name="repricing_of_organization")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("dry_run", False), ("state__in", ("queued", "running"))),
                        fields=("organization",),
                        name="repricing_one_at_a_time",
                    )
                ],
            },
        ),
        migrations.RunSQL(
            "ALTER TABLE billing_repricing ENABLE ROW LEVEL SECURITY;"
            "CREATE POLICY billing_repricing_tenant ON billing_repricing TO costtrack_tenant"
            f" USING ({OWN}) WITH CHECK ({OWN});",
            "DROP POLICY billing_repricing_tenant ON billing_repricing;"
            "ALTER TABLE billing_repricing DISABLE ROW LEVEL SECURITY;",
        ),
    ]
