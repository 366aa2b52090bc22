"""Authorizations use cached spend of unfolded events (docs/decisions/033-covered-spend.md), and the state of unfolded
batches has the number of their events."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0026_rare_counts")]

    operations = run_sql_files(__file__, "unfolded_spend", "limit_balances", "limit_reserve", "unfolded_state")
