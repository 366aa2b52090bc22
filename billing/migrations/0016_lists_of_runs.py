"""Lists of runs (those without a parent, the children of one, the runs of a workflow) are read page by page: indexes
that end with the id, instead of two that did not."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0015_limit_functions")]

    operations = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("parent_run_id", "")), fields=["organization", "id"], name="run_root"
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("parent_run_id", ""), _negated=True),
                fields=["organization", "parent_run_id", "id"],
                name="run_child",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("workflow_id", ""), _negated=True),
                fields=["organization", "workflow_id", "id"],
                name="run_by_workflow",
            ),
        ),
        migrations.RemoveIndex(model_name="run", name="run_children"),
        migrations.RemoveIndex(model_name="run", name="run_of_workflow"),
    ]
