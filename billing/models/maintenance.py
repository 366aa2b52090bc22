"""Results of the maintenance of the ledger and its rollups."""

from django.db import models

from costtrack.date_text import utc_text
from organizations.tenant_models import TenantModel


class RollupCheck(TenantModel):
    """The last verification of one of an organization's rollups, and its result."""

    pk = models.CompositePrimaryKey("organization", "rollup")
    rollup = models.CharField(max_length=32)
    checked_at = models.DateTimeField()
    differences = models.BigIntegerField(help_text="Number of rows that differ from the ledger.")
    first_difference = models.TextField(blank=True)

    class Meta:
        indexes = (models.Index(fields=("organization",), name="check_failed", condition=~models.Q(differences=0)),)

    def __str__(self) -> str:
        return f"{self.rollup} at {utc_text(self.checked_at)}"


class LedgerState(TenantModel):
    """The state of an organization's rollups.

    `version` changes to a random number whenever rollups change, so that a number that was rolled back or restored from
    a backup never identifies another state. With the unfolded batches it identifies the state of the ledger that a
    response is of (`billing.reports.response_cache_redis`). The other columns are counts that writers
    of rollups maintain (`billing.rollups.state`).
    """

    organization = models.OneToOneField(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", primary_key=True
    )
    version = models.BigIntegerField(default=0, db_default=0)
    sessions = models.BigIntegerField(default=0, db_default=0)
    executions = models.BigIntegerField(default=0, db_default=0)
    groups = models.BigIntegerField(default=0, db_default=0)

    def __str__(self) -> str:
        return f"version {self.version}"


class DroppedMonth(TenantModel):
    """An organization's events of one month of receipt that were dropped (docs/decisions/008).

    `unpriced` of them never got a price: the rollups still count them, and they have left the queue.
    """

    pk = models.CompositePrimaryKey("organization", "month")
    month = models.DateField(help_text="First day of the month.")
    events = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    dropped_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"
