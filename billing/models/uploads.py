"""Files of usage that were uploaded in the admin, until they are imported."""

from typing import Self

from django.db import models

from billing.types import UploadState
from costtrack.fields import total_field
from organizations.tenant_models import OrganizationScopedQuerySet, TenantForeignKey, TenantModel


class UploadQuerySet(OrganizationScopedQuerySet["Upload"]):
    def unfinished(self) -> Self:
        return self.filter(state__in=[state.value for state in UploadState if state.is_running])


class Upload(TenantModel):
    """A file, and its check or its import in steps. Each step stores its position and counts in the transaction that
    writes its events, so another worker can continue without doing anything twice.

    `column_names` are those of a table, and `mapping` the fields that were chosen for them. The counts are those of the
    check or the import; `position` is the number of records that it has processed.
    """

    created_at = models.DateTimeField(editable=False)
    actor = models.CharField(max_length=254, editable=False, help_text="Email address.")
    file_name = models.CharField(max_length=255, editable=False)
    size = models.PositiveBigIntegerField(editable=False)
    digest = models.CharField(max_length=64, editable=False, help_text="SHA-256 of the file's content.")
    format = models.CharField(max_length=32, editable=False)
    records = models.PositiveIntegerField(editable=False)
    column_names = models.JSONField(default=list, editable=False)
    mapping = models.JSONField(default=dict, editable=False)

    state = models.CharField(max_length=9, choices=UploadState, default=UploadState.UPLOADED.value, editable=False)
    touched_at = models.DateTimeField(editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    position = models.PositiveIntegerField(default=0, editable=False)

    accepted = models.PositiveIntegerField(default=0, editable=False)
    duplicates = models.PositiveIntegerField(default=0, editable=False)
    conflicts = models.PositiveIntegerField(default=0, editable=False)
    rejected = models.PositiveIntegerField(default=0, editable=False)
    unpriced = models.PositiveIntegerField(default=0, editable=False)
    cost_usd = total_field()
    unpriced_models = models.JSONField(default=list, editable=False)
    first_at = models.DateTimeField(null=True, editable=False)
    last_at = models.DateTimeField(null=True, editable=False)

    objects = UploadQuerySet.as_manager()  # type: ignore[misc] # mypy takes it for a variable of instances

    class Meta:
        verbose_name = "file"
        indexes = (models.Index(fields=("organization", "-id"), name="upload_of_organization"),)

    def __str__(self) -> str:
        return self.file_name

    @property
    def failed(self) -> int:
        """The records that are not in the ledger."""
        return self.conflicts + self.rejected


class UploadChunk(TenantModel):
    """Consecutive records of a file, `first` being the index of the first one. `content` is compressed JSON
    (`billing.ingest.upload_chunks`)."""

    upload = TenantForeignKey(Upload, on_delete=models.DO_NOTHING, related_name="chunks")
    first = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "upload", "first"), name="upload_chunk_once"),)


class UploadError(TenantModel):
    """A record of a file that is not stored, and why. Its content is not part of it."""

    upload = TenantForeignKey(Upload, on_delete=models.DO_NOTHING, related_name="errors")
    index = models.PositiveIntegerField()
    location = models.CharField(max_length=255)
    event_id = models.CharField(max_length=255, blank=True)
    field = models.CharField(max_length=255, blank=True)
    code = models.CharField(max_length=64)
    message = models.CharField(max_length=500)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "upload", "index"), name="upload_error_once"),)
