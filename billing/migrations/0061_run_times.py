"""The rollup of runs also has when the first and the last event of a day occurred."""

from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files

_TIME = models.DateTimeField(null=True)


class Migration(migrations.Migration):
    dependencies = [("billing", "0056_notice_requests")]

    operations = [
        migrations.AddField("runday", "first_at", _TIME),
        migrations.AddField("runday", "last_at", _TIME),
        migrations.AddField("liverunday", "first_at", _TIME),
        migrations.AddField("liverunday", "last_at", _TIME),
        *run_sql_files(__file__, "run_times"),
    ]
