"""A closed month has its commitments as they were when it was closed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0064_report_subscriptions")]

    operations = [
        migrations.AddField(
            "closedmonth",
            "commitments",
            models.JSONField(default=list, help_text="With their fees and use in the month."),
        ),
    ]
