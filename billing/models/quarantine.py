"""Records that could not be read, stored for a retry."""

from django.db import models

from organizations.tenant_models import TenantModel


class QuarantinedRecord(TenantModel):
    """An invalid record of a sender that cannot handle errors (LiteLLM drops its queue on an error response).

    `raw` is the record without prompts and responses, truncated at a maximum size; a truncated one cannot be retried.
    """

    format = models.CharField(max_length=32)
    credential = models.ForeignKey(
        "organizations.APICredential", on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    received_at = models.DateTimeField()
    record_id = models.CharField(max_length=255, blank=True)
    field = models.CharField(max_length=255, blank=True)
    code = models.CharField(max_length=64)
    message = models.CharField(max_length=1000)
    raw = models.TextField()
    is_truncated = models.BooleanField(default=False)
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("organization", "-id"), name="quarantine_open", condition=models.Q(resolved_at=None)),
        )

    def __str__(self) -> str:
        return self.record_id or f"#{self.pk}"
