"""Rules that split shared cost."""

import django.db.models.deletion
from django.db import migrations, models

import costtrack.fields
from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0045_outcomes"), ("organizations", "0014_lower_case_addresses")]

    operations = [
        migrations.CreateModel(
            name="AllocationRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "target",
                    models.CharField(
                        choices=[("team", "Team"), ("end_user", "End user"), ("tag", "Tag")], max_length=16
                    ),
                ),
                ("tag_prefix", costtrack.fields.dimension_field()),
                ("name", models.CharField(max_length=100)),
                ("starts", models.DateField(help_text="First day of a month.")),
                ("is_ended", models.BooleanField(default=False)),
                ("position", models.PositiveIntegerField(default=1)),
                ("source", models.JSONField(default=dict)),
                ("without_target_only", models.BooleanField(default=True)),
                (
                    "method",
                    models.CharField(
                        choices=[
                            ("even", "Evenly"),
                            ("fixed", "Fixed percentages"),
                            ("proportional", "In proportion to usage"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "measure",
                    models.CharField(
                        blank=True,
                        choices=[("cost", "Cost"), ("requests", "Requests"), ("tokens", "Tokens")],
                        max_length=16,
                    ),
                ),
                ("measures_source", models.BooleanField(default=False)),
                ("targets", models.JSONField(default=dict)),
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
                "indexes": [
                    models.Index(
                        fields=["organization", "target", "tag_prefix", "name", "-starts", "-id"],
                        name="rule_versions",
                    )
                ],
            },
        ),
        *run_sql_files(__file__, "allocation_rules"),
    ]
