"""What members have read of the notices."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0040_saved_views"),
        ("organizations", "0014_lower_case_addresses"),
    ]

    operations = [
        migrations.CreateModel(
            name="NoticeReading",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("read_up_to", models.BigIntegerField(default=0)),
                (
                    "also_read",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), default=list, size=None
                    ),
                ),
                (
                    "membership",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="organizations.membership",
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
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "membership"), name="notice_reading_once")
                ],
            },
        ),
        *run_sql_files(__file__, "notice_readings"),
    ]
