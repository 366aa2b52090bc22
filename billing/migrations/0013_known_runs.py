"""A batch whose runs are known takes one lookup of each, and its own row is read from JSON once."""

from django.db import migrations

from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0012_reads")]

    operations = run_sql_files(__file__, "complete_batches")
