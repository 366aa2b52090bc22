"""Workflow runs, which form a tree."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from organizations.tenant_models import TenantModel


class Run(TenantModel):
    """A workflow run, created by the first event that names it or names it as a parent.

    The parent is stored by the caller's id, because it may be named before it exists. Callers define the tree, so it
    may contain cycles, which readers must handle.

    Rollups count the folded events of the run under `folded_workflow_id`, and as those of a descendant under
    `folded_ancestor_workflows`, which is NULL for a run that is too deep in its tree. `has_moved` is set by the event
    that names another workflow or parent, until folding has moved the costs (`billing.rollups.workflows`).
    """

    run_id = models.CharField(max_length=255)
    parent_run_id = models.CharField(max_length=255, blank=True)
    workflow_id = models.CharField(max_length=255, blank=True)
    folded_workflow_id = models.CharField(max_length=255, blank=True, default="", db_default="", editable=False)
    folded_ancestor_workflows = ArrayField(
        models.CharField(max_length=255),
        null=True,
        default=list,
        db_default=models.Value([], ArrayField(models.CharField())),
        editable=False,
    )
    has_moved = models.BooleanField(default=False, db_default=False, editable=False)
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
                fields=("organization", "run_id"),
                name="run_moved",
                condition=models.Q(has_moved=True) | models.Q(folded_ancestor_workflows=None),
            ),
        )

    def __str__(self) -> str:
        return self.run_id
