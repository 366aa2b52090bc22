"""Credits and refunds of providers that belong to no single event."""

from django.db import models

from costtrack.fields import money_field
from organizations.tenant_models import TenantModel


class Credit(TenantModel):
    """An amount that a provider has credited for a period, with the dimensions that it is about.

    Its rows in the ledger (kind `credit`) have negative costs, one for each day of the period. `dimensions` are named
    as in the API.
    """

    amount_usd = money_field()
    reason = models.CharField(max_length=255)
    start = models.DateTimeField()
    end = models.DateTimeField()
    dimensions = models.JSONField(default=dict)
    actor = models.CharField(max_length=254)
    created_at = models.DateTimeField()
    batch_id = models.UUIDField(editable=False)
    voided_at = models.DateTimeField(null=True)
    voided_by = models.CharField(max_length=254, blank=True)
    void_reason = models.CharField(max_length=255, blank=True)

    class Meta:
        indexes = (models.Index(fields=("organization", "-id"), name="credit_of_organization"),)

    def __str__(self) -> str:
        return f"Credit {self.pk}"
