"""Subscriptions and provisioned capacity: fixed fees for usage."""

from django.db import models

from billing.types import CommitmentKind, FeePeriod
from costtrack.fields import money_field
from organizations.tenant_models import TenantModel


class Commitment(TenantModel):
    """A fixed fee for each period, and the usage that it covers. Terms never change; a commitment is ended.

    `starts` and `ends` are the first and the last day, in the organization's time zone. `covers` has lists of values by
    the name of the parameter. `tokens_per_minute` is what provisioned capacity can process.
    """

    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=16, choices=CommitmentKind)
    amount_usd = money_field()
    period = models.CharField(max_length=8, choices=FeePeriod)
    starts = models.DateField()
    ends = models.DateField(null=True)
    covers = models.JSONField(default=dict)
    tokens_per_minute = models.BigIntegerField(null=True)
    actor = models.CharField(max_length=254)
    created_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("organization", "starts", "id"), name="commitment_by_start"),)

    def __str__(self) -> str:
        return self.name
