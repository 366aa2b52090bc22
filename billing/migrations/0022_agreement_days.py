"""Agreements begin and end at instants: with days of the organization, the last one included. Until now the days were
UTC, and the end was the first day without the terms, which is the same instant."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0021_notification_addresses")]

    operations = [
        migrations.RenameField("agreement", "starts", "starts_at"),
        migrations.RenameField("agreement", "ends", "ends_at"),
        # PostgreSQL converts a date to its midnight in the time zone of the connection, which is UTC.
        migrations.AlterField("agreement", "starts_at", models.DateTimeField(blank=True, null=True)),
        migrations.AlterField("agreement", "ends_at", models.DateTimeField(blank=True, null=True)),
    ]
