"""What needs a review in an organization's usage, found once for each model."""

from django.db import models

from costtrack.fields import dimension_field
from organizations.tenant_models import TenantModel


class UsageIssue(TenantModel):
    """The first call of a model without a known cost for a reason, or with a flag. Its notice is written once.

    `code` is an `UnpricedReason` or the code of a flag, `detail` what the flag is about. The fold of the event's batch
    writes the row (`billing.rollups.usage_issues`), a worker the notice (`billing.notifications.usage_issues`).
    """

    code = models.CharField(max_length=32)
    service = dimension_field()
    model = dimension_field()
    detail = models.TextField(blank=True, default="", db_default="")
    event_id = models.UUIDField(help_text="The first event in the ledger.")
    occurred_at = models.DateTimeField()
    notified_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("organization", "code", "service", "model"), name="usage_issue_once"),
        )
        indexes = (
            models.Index(fields=("organization",), name="usage_issue_pending", condition=models.Q(notified_at=None)),
        )

    def __str__(self) -> str:
        return f"{self.code}: {self.model}"
