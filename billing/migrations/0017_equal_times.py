"""Indexes for rows that share one time: an event's adjustments are found by the event's id, and sessions that began at
the same instant are listed by their ids without being sorted."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0016_lists_of_runs")]

    operations = [
        migrations.AddIndex(
            model_name="usageevent",
            index=models.Index(
                condition=models.Q(("adjusts__isnull", False)),
                fields=["organization", "adjusts"],
                name="event_adjustments",
            ),
        ),
        migrations.AddIndex(
            model_name="sessiontotal",
            index=models.Index(fields=["organization", "-first_at", "session_id"], name="session_newest"),
        ),
        migrations.RemoveIndex(model_name="sessiontotal", name="session_by_start"),
    ]
