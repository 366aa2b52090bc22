"""The functions of limits and of the ledger's state."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_live_views")]

    operations = run_sql_files(
        __file__,
        "ledger_state",
        "limit_scopes",
        "limit_balances",
        "limit_balance_details",
        "limit_spend_by_instant",
        "limit_reserve",
    )
