"""The time at which a threshold was reached is named as in the API. PostgreSQL's index follows the column."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_organization_keys")]

    operations = [
        migrations.RenameField("thresholdevent", "crossed_at", "reached_at"),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveIndex("thresholdevent", "threshold_event_by_time"),
                migrations.AddIndex(
                    "thresholdevent",
                    models.Index(fields=["organization", "-reached_at", "-id"], name="threshold_event_by_time"),
                ),
            ]
        ),
    ]
