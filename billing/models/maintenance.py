"""What looking after the ledger and its rollups has found and done."""

from django.db import models

from organizations.querysets import OrganizationScopedQuerySet


class RollupCheck(models.Model):
    """When one of an organization's rollups was last compared with the ledger, and what came of it."""

    pk = models.CompositePrimaryKey("organization", "rollup")
    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    rollup = models.CharField(max_length=32)
    checked_at = models.DateTimeField()
    differences = models.BigIntegerField(help_text="How many rows are not as the ledger says.")
    first_difference = models.TextField(blank=True)

    objects = OrganizationScopedQuerySet["RollupCheck"].as_manager()

    class Meta:
        indexes = (models.Index(fields=("organization",), name="check_failed", condition=~models.Q(differences=0)),)

    def __str__(self) -> str:
        return f"{self.rollup} at {self.checked_at:%Y-%m-%d %H:%M}"


class LedgerState(models.Model):
    """What is known of an organization's rollups as a whole.

    `version` changes whenever rollups do, to a random number, so that one that was rolled back, or is restored from a
    backup, never means something else; with the batches that are not folded it says which state of the ledger an answer
    is of (`billing.reports.response_cache_redis`). The others are how many there are of what nobody wants to count
    anew: the database's triggers keep them.
    """

    organization = models.OneToOneField(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", primary_key=True
    )
    version = models.BigIntegerField(default=0, db_default=0)
    sessions = models.BigIntegerField(default=0, db_default=0)
    executions = models.BigIntegerField(default=0, db_default=0)
    groups = models.BigIntegerField(default=0, db_default=0)

    objects = OrganizationScopedQuerySet["LedgerState"].as_manager()

    def __str__(self) -> str:
        return f"version {self.version}"


class DroppedMonth(models.Model):
    """An organization's events that were received in one month and have been dropped since (docs/decisions/008).

    `unpriced` of them never got a price: the rollups go on counting them, and the queue has let them go.
    """

    pk = models.CompositePrimaryKey("organization", "month")
    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    month = models.DateField(help_text="Its first day.")
    events = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    dropped_at = models.DateTimeField()

    objects = OrganizationScopedQuerySet["DroppedMonth"].as_manager()

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"
