"""Addresses that get notices without being a member, and an index to count the emails of a recipient."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0020_call_keys"),
        ("organizations", "0009_memberships"),
    ]

    operations = [
        migrations.CreateModel(
            name="NotificationAddress",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("address", models.EmailField(max_length=254)),
                (
                    "categories",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=16),
                        blank=True,
                        default=list,
                        help_text="Categories of notices. Empty: all.",
                        size=None,
                    ),
                ),
                ("created_at", models.DateTimeField(editable=False)),
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
                    models.UniqueConstraint(fields=("organization", "address"), name="notification_address_once")
                ],
            },
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["organization", "recipient", "created_at"], name="delivery_to_recipient"),
        ),
        *run_sql_files(__file__, "notification_addresses"),
    ]
