"""Back-tests of the forecasts of spend."""

from django.db import models

from billing.types import LimitScope
from costtrack.fields import dimension_field
from organizations.tenant_models import TenantModel


class ForecastCheck(TenantModel):
    """The last back-test of the forecast of a scope and value: of the organization (with an empty value), a team, or a
    credential (the id of its row). `horizons` are lists of the fields of `HorizonCheck`
    (`billing.reports.forecast.model`); empty if there is not enough history.
    """

    pk = models.CompositePrimaryKey("organization", "scope", "value")
    scope = models.CharField(max_length=16, choices=LimitScope)
    value = dimension_field()
    checked_at = models.DateTimeField()
    horizons = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.scope} {self.value}".strip()
