"""A cached credential is checked in the same message as the statement of its request."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("organizations", "0003_plans")]

    operations = run_sql_files(__file__, "check_credential")
