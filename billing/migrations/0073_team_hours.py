"""The rollups of limits have rows for every team, which forecasts and anomalies read.

Events that are already folded get theirs by `costtrack rollups rebuild`, which also runs each month.
"""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0072_erasures")]

    operations = [*run_sql_files(__file__, "live_scopes")]
