"""What Django does not make of the tables: keys that begin with the organization, the ledger's partitions, the
append-only ledger, and row-level security."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("organizations", "0002_database_rules")]

    operations = run_sql_files(
        __file__,
        "primary_keys",
        "foreign_keys",
        "ledger_partitions",
        "ledger_append_only",
        "tenant_policies",
    )
