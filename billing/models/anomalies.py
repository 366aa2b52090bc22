"""Hours and days whose spend was unusual (docs/anomalies.md)."""

from decimal import Decimal

from django.db import models

from billing.types import LimitScope
from costtrack.calendar import Unit
from costtrack.fields import dimension_field, total_field
from organizations.tenant_models import TenantForeignKey, TenantModel

_UNITS = ((Unit.HOUR.value, "Hour"), (Unit.DAY.value, "Day"))


class _OutsideBand(TenantModel):
    """An hour or a local day of a scope and value that was outside its band. The value of the organization is empty,
    that of a credential the id of its row.

    `actual_usd` is exact, the others are estimates. `explained_by` are the values of other dimensions that most of the
    difference is due to, the largest part first: `{"scope", "value", "usd"}`.
    """

    scope = models.CharField(max_length=16, choices=LimitScope)
    value = dimension_field()
    unit = models.CharField(max_length=4, choices=_UNITS)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    expected_usd = total_field()
    low_usd = total_field()
    high_usd = total_field()
    actual_usd = total_field()
    explained_by = models.JSONField(default=list)

    class Meta:
        abstract = True

    @property
    def difference_usd(self) -> Decimal:
        return self.actual_usd - self.expected_usd


class Anomaly(_OutsideBand):
    """Unusual spend with one cause: hours and days of one or several scopes, of which there is one notice.

    Its figures are those of the window with the largest difference; `began_at` and `ended_at` are those of all.
    `withdrawn_at` is set when late events have brought them all into their bands, `dismissed_at` when a user has marked
    the anomaly as expected.
    """

    is_rise = models.BooleanField()
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    found_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True)
    dismissed_at = models.DateTimeField(null=True)
    dismissed_by = models.CharField(max_length=254, blank=True, default="", db_default="")

    class Meta:
        verbose_name_plural = "anomalies"
        indexes = (models.Index(fields=("organization", "-began_at", "-id"), name="anomaly_by_time"),)

    def __str__(self) -> str:
        return f"{self.scope} {self.value}".strip()


class AnomalyWindow(_OutsideBand):
    """An hour or day of an anomaly, found once for each scope and value."""

    anomaly = TenantForeignKey(Anomaly, on_delete=models.PROTECT, related_name="windows")
    anomaly_id: int

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("organization", "scope", "value", "unit", "starts_at"), name="anomaly_window_once"
            ),
        )
        indexes = (
            models.Index(fields=("organization", "anomaly"), name="anomaly_window_of_anomaly"),
            models.Index(fields=("organization", "starts_at"), name="anomaly_window_by_time"),
        )

    def __str__(self) -> str:
        return f"{self.unit} of {self.scope} {self.value}".strip()
