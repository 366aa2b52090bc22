"""The path of a single call: a batch is written by one statement, and open authorizations are read once."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_usage_issues")]

    operations = run_sql_files(
        __file__,
        "write_events",
        "complete_batches",
        "append_batches",
        "limit_reserved",
        "limit_balances",
        "limit_reserve",
    )
