"""The id of sessions, executions and generation groups becomes Django's primary key, because the admin takes no
composite one. The tables do not change: their primary keys still are the organization, the id and `archived`."""

from django.db import migrations, models

IDS = {"session": "session_id", "execution": "execution_id", "generationgroup": "group_id"}


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_functions")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                *(migrations.RemoveField(model, "pk") for model in IDS),
                *(
                    migrations.AlterField(
                        model, column, models.CharField(max_length=255, primary_key=True, serialize=False)
                    )
                    for model, column in IDS.items()
                ),
            ]
        )
    ]
