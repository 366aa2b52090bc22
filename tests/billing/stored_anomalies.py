"""Stored anomalies, for tests of what reads them."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.models import Anomaly, AnomalyWindow
from organizations.models import Organization

HOUR = timedelta(hours=1)


def make_anomaly(
    organization: Organization, *series: tuple[str, str], at: datetime, spent: str = "500", **changes: Any
) -> Anomaly:
    """An hour of one or several series, of which 10 dollars were expected."""
    window = {
        "organization": organization,
        "unit": "hour",
        "starts_at": at,
        "ends_at": at + HOUR,
        "expected_usd": Decimal(10),
        "low_usd": Decimal(5),
        "high_usd": Decimal(20),
        "actual_usd": Decimal(spent),
        "explained_by": [{"scope": "model", "value": "gpt-5", "usd": "480"}],
    }
    scope, value = series[0]
    anomaly = Anomaly.objects.create(
        **{
            **window,
            "scope": scope,
            "value": value,
            "is_rise": True,
            "began_at": at,
            "ended_at": at + HOUR,
            "found_at": at,
            **changes,
        }
    )
    AnomalyWindow.objects.bulk_create(
        AnomalyWindow(**window, anomaly=anomaly, scope=scope, value=value) for scope, value in series
    )
    return anomaly
