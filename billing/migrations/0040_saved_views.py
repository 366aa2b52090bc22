"""Saved views of the explorer."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0039_untagged_days"),
        ("organizations", "0010_security_log"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="SavedView",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                ("parameters", models.CharField(blank=True, help_text="The query string.", max_length=4000)),
                ("is_shared", models.BooleanField(default=False)),
                ("is_default", models.BooleanField(default=False)),
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
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_shared", False)),
                        fields=("organization", "user", "name"),
                        name="saved_view_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_shared", True)),
                        fields=("organization", "name"),
                        name="shared_view_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True), ("is_shared", False)),
                        fields=("organization", "user"),
                        name="saved_default_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True), ("is_shared", True)),
                        fields=("organization",),
                        name="shared_default_once",
                    ),
                ],
            },
        ),
        *run_sql_files(__file__, "saved_views"),
    ]
