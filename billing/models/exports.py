"""Files that are created in the background, until they expire."""

from typing import Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from billing.types import ExportState
from costtrack.file_columns import FORMAT_LABELS
from organizations.tenant_models import OrganizationScopedQuerySet, TenantForeignKey, TenantModel


class ExportQuerySet(OrganizationScopedQuerySet["Export"]):
    def unfinished(self) -> Self:
        return self.filter(state__in=[state.value for state in ExportState if state.is_unfinished])


class Export(TenantModel):
    """A file that is created in steps. Each step stores a part of the rows and its position in one transaction, so
    another worker can continue without leaving out or repeating a row.

    `query` is what the file has (`billing.exports.file_queries`), `columns` are names and types. `required_scope` is
    what a caller needs to see the file; empty: nothing. `total` is the expected number of rows, NULL until it is known.
    `user` is who requested it, whose rights are checked again at each step; NULL for a credential.
    """

    created_at = models.DateTimeField(editable=False)
    actor = models.CharField(max_length=254, editable=False, help_text="Email address or Client ID.")
    # There is no foreign key in the database, because users belong to no organization.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
        editable=False,
    )
    scopes = ArrayField(models.CharField(max_length=32), default=list, editable=False)
    is_of_operator = models.BooleanField(default=False, editable=False)
    required_scope = models.CharField(max_length=32, blank=True, editable=False)

    title = models.CharField(max_length=100, editable=False)
    file_name = models.CharField(max_length=255, editable=False)
    format = models.CharField(
        max_length=7, choices=[(name.value, label) for name, label in FORMAT_LABELS], editable=False
    )
    query = models.JSONField(editable=False)
    columns = models.JSONField(default=list, editable=False)

    state = models.CharField(max_length=8, choices=ExportState, default=ExportState.QUEUED.value, editable=False)
    position = models.TextField(blank=True, editable=False)
    parts = models.PositiveIntegerField(default=0, editable=False)
    rows = models.PositiveBigIntegerField(default=0, editable=False)
    total = models.PositiveBigIntegerField(null=True, editable=False)
    stored_bytes = models.PositiveBigIntegerField(default=0, editable=False)
    touched_at = models.DateTimeField(editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, editable=False)
    error = models.CharField(max_length=500, blank=True, editable=False)

    objects = ExportQuerySet.as_manager()  # type: ignore[misc] # mypy takes it for a variable of instances

    class Meta:
        indexes = (models.Index(fields=("organization", "-id"), name="export_of_organization"),)

    def __str__(self) -> str:
        return f"{self.title} ({self.get_format_display()})"


class ExportPart(TenantModel):
    """Consecutive rows of a file, as compressed JSON. `number` counts from 0."""

    export = TenantForeignKey(Export, on_delete=models.DO_NOTHING, related_name="+")
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "export", "number"), name="export_part_once"),)
