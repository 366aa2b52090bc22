"""Events that are completed by another source while their cost is unknown stay in the queue once."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0032_runs_by_time")]

    operations = [*run_sql_files(__file__, "write_events")]
