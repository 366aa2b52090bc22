"""Reads whose cost does not follow the ledger."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_single_calls")]

    operations = run_sql_files(__file__, "unfolded_state")
