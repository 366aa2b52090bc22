"""Sums for reports with many groups; the plural of a notification address."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0068_bill_connections")]

    operations = [
        *run_sql_files(__file__, "explorer_sums"),
        migrations.AlterModelOptions(
            name="notificationaddress", options={"verbose_name_plural": "notification addresses"}
        ),
    ]
