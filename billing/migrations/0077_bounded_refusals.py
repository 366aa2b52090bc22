"""Balances in detail use cached spend of unfolded events, and the spend of a part of an hour is read in few rows
(docs/decisions/056-bounded-refusals.md)."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0075_event_archives")]

    operations = run_sql_files(__file__, "limit_balance_rows", "limit_spend_by_part")
