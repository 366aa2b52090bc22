"""A call has its dimensions as one array, and balances read events and authorizations by shared functions."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0022_agreement_days"),
    ]

    operations = [
        *run_sql_files(
            __file__,
            "limit_conditions",
            "limit_usage",
            "limit_reserved",
            "limit_balance_details",
            "limit_spend_by_instant",
            "live_scopes",
        )
    ]
