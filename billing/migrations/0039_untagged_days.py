"""The rollup of tags also has usage without tags, and failed requests."""

from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files

_ERRORS = models.BigIntegerField(default=0, db_default=0)


class Migration(migrations.Migration):
    dependencies = [("billing", "0036_workflow_trees")]

    operations = [
        migrations.AddField("tagday", "errors", _ERRORS),
        migrations.AddField("livetagday", "errors", _ERRORS),
        *run_sql_files(__file__, "untagged_days"),
    ]
