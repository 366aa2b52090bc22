"""The functions of conditions that take each dimension separately are not used any more."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0028_uploads")]

    operations = run_sql_files(__file__, "limit_conditions")
