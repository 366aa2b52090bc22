"""Closed months, and the rows of the ledger that arrived after their month was closed."""

from django.db import models

from organizations.tenant_models import TenantModel


class ClosedMonth(TenantModel):
    """A month that an owner has closed: its statement no longer changes.

    The span, the time zone, the names and the commitments are those of the day on which it was closed. Closed months
    follow each other without a gap, and the first one closes all time before it.
    """

    pk = models.CompositePrimaryKey("organization", "month")
    month = models.DateField(help_text="First day of the month.")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    time_zone = models.CharField(max_length=64)
    closed_at = models.DateTimeField()
    closed_by = models.CharField(max_length=254, help_text="Email address or Client ID.")
    organization_name = models.CharField(max_length=120)
    credential_names = models.JSONField(default=dict, help_text="By Client ID.")
    limits_history = models.JSONField(default=list)
    commitments = models.JSONField(default=list, help_text="With their fees and use in the month.")

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"


class LateEvent(TenantModel):
    """A row of the ledger that was folded after the month of its usage was closed.

    It is booked in the month that was the first open one then. Every other row is booked in the month of its usage.
    """

    pk = models.CompositePrimaryKey("organization", "event_id")
    organization = models.ForeignKey(
        "organizations.Organization", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    event_id = models.UUIDField()
    month = models.DateField(help_text="First day of the closed month.")
    booked_month = models.DateField(help_text="First day of the month in whose statement the row counts.")

    class Meta:
        indexes = (
            models.Index(fields=("organization", "month"), name="late_event_of_month"),
            models.Index(fields=("organization", "booked_month"), name="late_event_booked"),
        )

    def __str__(self) -> str:
        return str(self.event_id)
