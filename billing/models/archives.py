"""The manifest of archived events: their files on disk or in object storage (docs/archive.md)."""

from typing import Self

from django.db import models

from costtrack.fields import total_field
from organizations.tenant_models import OrganizationScopedQuerySet, TenantModel


class EventArchiveQuerySet(OrganizationScopedQuerySet["EventArchive"]):
    def complete(self) -> Self:
        """Files that were verified, and whose events are no longer in the ledger."""
        return self.filter(archived_at__isnull=False)


class EventArchive(TenantModel):
    """A Parquet file with an organization's events of one month of receipt.

    The row exists before its file, so that a file of a run that was interrupted is known. `archived_at` is set in the
    transaction that removes the events from the ledger, after the file was read back and compared with them.

    `requests`, `unpriced` and `cost_usd` are the sums of the rows. `replaced_file` is the file before a person was
    erased, until it is deleted. `problem` is what the last check of the file found.
    """

    month = models.DateField(help_text="First day of the month of receipt (UTC).")
    location = models.CharField(max_length=1000, help_text="A folder, or s3://bucket/prefix.")
    file_name = models.CharField(max_length=255, help_text="Below the location.")
    replaced_file = models.CharField(max_length=255, blank=True, default="")
    schema_version = models.PositiveSmallIntegerField()
    began_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True)
    events = models.BigIntegerField(default=0)
    size_bytes = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    requests = models.BigIntegerField(default=0)
    unpriced = models.BigIntegerField(default=0)
    cost_usd = total_field()
    first_occurred_at = models.DateTimeField(null=True)
    last_occurred_at = models.DateTimeField(null=True)
    checked_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=255, blank=True, default="")

    objects = EventArchiveQuerySet.as_manager()  # type: ignore[misc] # mypy takes it for a variable of instances

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "location", "file_name"), name="event_archive_once_per_file"
            ),
        )
        indexes = (models.Index(fields=("organization", "month"), name="event_archive_by_month"),)

    def __str__(self) -> str:
        return self.file_name
