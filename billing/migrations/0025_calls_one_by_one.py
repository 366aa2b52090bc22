"""Calls that several sources report are looked up one by one."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0024_detail_rollups")]

    operations = [*run_sql_files(__file__, "match_calls", "write_events")]
