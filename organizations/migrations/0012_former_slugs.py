"""The slugs that organizations had before they were renamed."""

import django.db.models.deletion
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("organizations", "0011_teams")]

    operations = [
        migrations.CreateModel(
            name="FormerSlug",
            fields=[
                ("slug", models.SlugField(max_length=63, primary_key=True, serialize=False)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="former_slugs",
                        to="organizations.organization",
                    ),
                ),
                ("changed_at", models.DateTimeField()),
            ],
        ),
        *run_sql_files(__file__, "former_slugs"),
    ]
