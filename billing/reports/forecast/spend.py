"""The spend by hour that forecasts are made from (`billing_scopehour`)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from billing.types import LimitScope
from costtrack.clock import start_of_hour
from costtrack.database.queries import fetch_rows
from organizations.models import Organization

FORECAST_SCOPES = (LimitScope.ORGANIZATION, LimitScope.TEAM, LimitScope.CREDENTIAL)
MAX_SERIES = 50
"""How many teams, and how many credentials, have a forecast: the most expensive ones of the last four weeks."""
_RECENT = timedelta(weeks=4)

_BY_SPEND = """
SELECT value
FROM billing_scopehour
WHERE organization_id = %(organization)s AND scope = %(scope)s AND hour >= %(since)s AND hour < %(until)s
GROUP BY value
HAVING sum(cost_usd) > 0
ORDER BY sum(cost_usd) DESC, value
LIMIT %(limit)s
"""
_HOURS = """
SELECT requested.value, spend.hour, spend.usd
FROM unnest(%(values)s::text[]) AS requested (value)
CROSS JOIN LATERAL (
    SELECT hour, sum(cost_usd)::float8 AS usd
    FROM billing_scopehour
    WHERE organization_id = %(organization)s AND scope = %(scope)s AND value = requested.value
        AND hour >= %(since)s AND hour < %(until)s
    GROUP BY hour
) AS spend
"""


def most_expensive(organization: Organization, scope: LimitScope, *, now: datetime) -> list[str]:
    """Return the values of a scope that have a forecast. The value of the organization is empty."""
    parameters = {
        "organization": organization.pk,
        "scope": scope.value,
        "since": now - _RECENT,
        "until": now,
        "limit": MAX_SERIES,
    }
    return [value for (value,) in fetch_rows(_BY_SPEND, parameters)]


def read_hours(
    organization: Organization, scope: LimitScope, values: Sequence[str], *, since: datetime, until: datetime
) -> dict[str, dict[datetime, float]]:
    """Return the spend of full hours by value. The hour of `until` is not over, and is left out."""
    parameters = {
        "organization": organization.pk,
        "scope": scope.value,
        "values": list(values),
        "since": since,
        "until": start_of_hour(until),
    }
    hours: dict[str, dict[datetime, float]] = {}
    for value, hour, usd in fetch_rows(_HOURS, parameters):
        hours.setdefault(value, {})[hour] = usd
    return hours
