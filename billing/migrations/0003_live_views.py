"""The live views of the rollups: each rollup together with what is not folded yet (docs/rollups.md)."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_table_rules")]

    operations = run_sql_files(
        __file__, "live_usage", "live_runs", "live_sessions", "live_groups", "live_spend", "live_scopes"
    )
