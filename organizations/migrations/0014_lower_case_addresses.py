"""Email addresses of users are in lower case."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("organizations", "0013_closing")]

    operations = [*run_sql_files(__file__, "lower_case_addresses")]
