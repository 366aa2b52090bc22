"""Workflow runs: a tree."""

from django.db import models

from organizations.querysets import OrganizationScopedQuerySet


class Run(models.Model):
    """A workflow run, known since the first event that named it (or named it as a parent).

    The parent is kept by its id as the caller gave it, because it may be named before it is seen. The tree is the
    callers' word: it may hold cycles, and readers must survive them.
    """

    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    run_id = models.CharField(max_length=255)
    parent_run_id = models.CharField(max_length=255, blank=True)
    workflow_id = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField()

    objects = OrganizationScopedQuerySet["Run"].as_manager()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "run_id"), name="run_once"),)
        # Each ends with the id, so that lists are read page by page, however long they are.
        indexes = (
            models.Index(fields=("organization", "id"), name="run_root", condition=models.Q(parent_run_id="")),
            models.Index(
                fields=("organization", "parent_run_id", "id"), name="run_child", condition=~models.Q(parent_run_id="")
            ),
            models.Index(
                fields=("organization", "workflow_id", "id"),
                name="run_by_workflow",
                condition=~models.Q(workflow_id=""),
            ),
        )

    def __str__(self) -> str:
        return self.run_id
