"""Workflow runs, which form a tree."""

from django.db import models

from organizations.tenant_models import TenantModel


class Run(TenantModel):
    """A workflow run, created by the first event that names it or names it as a parent.

    The parent is stored by the caller's id, because it may be named before it exists. Callers define the tree, so it
    may contain cycles, which readers must handle.

    `folded_workflow_id` is the workflow under which rollups count the folded events of the run. It differs from
    `workflow_id` between the event that changes it and the fold of that event (`billing.rollups.workflows`).
    """

    run_id = models.CharField(max_length=255)
    parent_run_id = models.CharField(max_length=255, blank=True)
    workflow_id = models.CharField(max_length=255, blank=True)
    folded_workflow_id = models.CharField(max_length=255, blank=True, default="", db_default="", editable=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "run_id"), name="run_once"),)
        # Each ends with the id, for keyset pagination.
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
            models.Index(fields=("organization", "created_at", "id"), name="run_by_time"),
            models.Index(
                fields=("organization",),
                name="run_workflow_changed",
                condition=~models.Q(folded_workflow_id=models.F("workflow_id")),
            ),
        )

    def __str__(self) -> str:
        return self.run_id
