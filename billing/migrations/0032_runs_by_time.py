"""Lists of runs by the time when they were first seen."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0031_named_calls")]

    operations = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["organization", "created_at", "id"], name="run_by_time"),
        ),
    ]
