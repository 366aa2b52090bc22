"""Events that are completed by another source while their cost is unknown stay in the queue once."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0031_named_calls")]

    operations = [*run_sql_files(__file__, "write_events")]
