"""What verifying the rollups has found and what retention has dropped, with their row-level security."""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

OWN = "organization_id = ANY ((SELECT costtrack_organizations())::bigint[])"


def organization() -> tuple[str, Any]:
    return (
        "organization",
        models.ForeignKey(
            db_index=False,
            on_delete=django.db.models.deletion.PROTECT,
            related_name="+",
            to="organizations.organization",
        ),
    )


def key(*columns: str) -> tuple[str, Any]:
    return (
        "pk",
        models.CompositePrimaryKey(*columns, blank=True, editable=False, primary_key=True, serialize=False),
    )


def policy(table: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        f"CREATE POLICY {table}_tenant ON {table} TO costtrack_tenant USING ({OWN}) WITH CHECK ({OWN});",
        f"DROP POLICY {table}_tenant ON {table}; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;",
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_rollup_rules"), ("organizations", "0004_audit_append_only")]

    operations = [
        migrations.CreateModel(
            name="RollupCheck",
            fields=[
                key("organization", "rollup"),
                organization(),
                ("rollup", models.CharField(max_length=32)),
                ("checked_at", models.DateTimeField()),
                ("differences", models.BigIntegerField(help_text="How many rows are not as the ledger says.")),
                ("first_difference", models.TextField(blank=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["organization"],
                        name="check_failed",
                        condition=models.Q(("differences", 0), _negated=True),
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="DroppedMonth",
            fields=[
                key("organization", "month"),
                organization(),
                ("month", models.DateField(help_text="Its first day.")),
                ("events", models.BigIntegerField()),
                ("unpriced", models.BigIntegerField()),
                ("dropped_at", models.DateTimeField()),
            ],
        ),
        policy("billing_rollupcheck"),
        policy("billing_droppedmonth"),
    ]
