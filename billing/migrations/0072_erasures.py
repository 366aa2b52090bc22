"""Replacements of a person's id, and the exception of the audit log for them."""

import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0070_explorer_sums"), ("organizations", "0014_lower_case_addresses")]

    operations = [
        migrations.CreateModel(
            name="Erasure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("pseudonym", models.CharField(max_length=64)),
                ("began_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("rows", models.JSONField(default=dict, help_text="By table.")),
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
        *run_sql_files(__file__, "erasures"),
    ]
