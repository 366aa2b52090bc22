"""The calls that events name are arrays instead of objects, which PostgreSQL reads several times faster."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0077_bounded_refusals")]

    operations = [*run_sql_files(__file__, "match_calls")]
