"""The calls that events name are written apart from the events, so that these are read once."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0030_tenant_rights")]

    operations = [*run_sql_files(__file__, "match_calls", "write_events", "append_batches")]
