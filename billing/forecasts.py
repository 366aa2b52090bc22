"""Back-test the forecasts of an organization, its teams and its credentials over their own past, each night."""

from datetime import datetime

from billing.models import ForecastCheck
from billing.reports.forecast.model import MAX_PAST, HourlySpend, back_test
from billing.reports.forecast.spend import FORECAST_SCOPES, most_expensive, read_hours
from organizations.models import Organization


def back_test_forecasts(*, organization: Organization, now: datetime) -> int:
    """Store the checks of the organization and of its most expensive teams and credentials; return their number.

    Each series is stored as soon as it is tested. Series that are no longer among them are deleted at the end.
    """
    done = 0
    for scope in FORECAST_SCOPES:
        for value in most_expensive(organization, scope, now=now):
            hours = read_hours(organization, scope, [value], since=now - MAX_PAST, until=now)
            spend = HourlySpend.of(hours.get(value, {}), until=now, calendar=organization.calendar)
            check = ForecastCheck(
                organization=organization,
                scope=scope.value,
                value=value,
                checked_at=now,
                horizons=[list(horizon) for horizon in back_test(spend)] if spend is not None else [],
            )
            ForecastCheck.objects.bulk_create(
                [check],
                update_conflicts=True,
                unique_fields=["organization", "scope", "value"],
                update_fields=["checked_at", "horizons"],
            )
            done += 1
    ForecastCheck.objects.of(organization).filter(checked_at__lt=now).delete()
    return done
