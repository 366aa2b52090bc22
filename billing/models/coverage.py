"""What senders count in metrics: a check of their logs and spans, or usage."""

from django.db import models

from costtrack.date_text import utc_text
from organizations.tenant_models import TenantModel


class Coverage(TenantModel):
    """The tokens that a sender has reported in an hour by one signal: `logs`, `traces`, or a family of metrics
    (`billing.ingest.otlp.metrics`). They are no usage; the ledger has the events of logs and spans."""

    pk = models.CompositePrimaryKey("organization", "source", "signal", "hour")
    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    source = models.CharField(max_length=255)
    signal = models.CharField(max_length=64)
    hour = models.DateTimeField()
    tokens = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.source}, {self.signal}, {utc_text(self.hour)}"


class MetricPoint(TenantModel):
    """A point of a metric that was counted, so that a retried export is not counted again.

    For a cumulative series it is the last one since its start: `ends_at` is its time in nanoseconds since 1970 (0: none
    yet), `tokens` its total.
    """

    pk = models.CompositePrimaryKey("organization", "key")
    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    key = models.UUIDField()
    ends_at = models.BigIntegerField()
    tokens = models.BigIntegerField()
    received_at = models.DateTimeField()

    def __str__(self) -> str:
        return str(self.key)


class MetricSender(TenantModel):
    """A sender whose metrics are its usage, because it exports nothing else."""

    name = models.CharField(max_length=255, verbose_name="sender", help_text="Its `service.name`.")
    metric = models.CharField(max_length=64, blank=True, editable=False)
    """The metrics that are counted (`Family.signal`); empty until the first ones arrive."""
    created_at = models.DateTimeField(editable=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("organization", "name"), name="metric_sender_once"),)

    def __str__(self) -> str:
        return self.name
