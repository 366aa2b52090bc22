"""Events and authorizations have the name by which limits and reports know the model, and the name as sent."""

from django.db import migrations

import costtrack.fields
from costtrack.database.sql_files import run_sql_files


class Migration(migrations.Migration):
    dependencies = [("billing", "0013_known_runs")]

    operations = (
        migrations.AddField("usageevent", "sent_model", costtrack.fields.dimension_field()),
        migrations.AddField("authorization", "sent_model", costtrack.fields.dimension_field()),
        *run_sql_files(__file__, "limit_reserve"),
    )
