"""The rollups by workflow also count the runs below those of a workflow, so that reports need not walk the tree."""

import django.contrib.postgres.fields
from django.db import migrations, models

from costtrack.database.sql_files import run_sql_files

_KEYS = {
    "workflowday": ("organization", "workflow_id", "is_descendant", "day", "service", "cost_group", "archived"),
    "workflowtotal": ("organization", "workflow_id", "is_descendant", "service", "cost_group", "archived"),
}


def _key(*columns: str) -> "models.CompositePrimaryKey":
    return models.CompositePrimaryKey(*columns, blank=True, editable=False, primary_key=True, serialize=False)


class Migration(migrations.Migration):
    dependencies = [("billing", "0035_metric_senders")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="folded_ancestor_workflows",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=255),
                db_default=models.Value([], django.contrib.postgres.fields.ArrayField(models.CharField())),
                default=list,
                editable=False,
                null=True,
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="has_moved",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.RemoveIndex(model_name="run", name="run_workflow_changed"),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("has_moved", True), ("folded_ancestor_workflows", None), _connector="OR"),
                fields=["organization", "run_id"],
                name="run_moved",
            ),
        ),
        # Django cannot change a composite primary key.
        migrations.SeparateDatabaseAndState(
            database_operations=[*run_sql_files(__file__, "workflow_trees")],
            state_operations=[
                operation
                for name, key in _KEYS.items()
                for model_name in (name, f"live{name}")
                for operation in (
                    migrations.AddField(
                        model_name=model_name,
                        name="is_descendant",
                        field=models.BooleanField(default=False),
                        preserve_default=False,
                    ),
                    migrations.AlterField(model_name=model_name, name="pk", field=_key(*key)),
                )
            ],
        ),
        *run_sql_files(__file__, "complete_batches", "moved_runs"),
    ]
