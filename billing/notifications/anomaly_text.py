"""Sentences about unusual spend, from the `data` of its notice (docs/notifications.md). Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from billing.types import LimitScope
from costtrack.calendar import Unit
from costtrack.date_text import day_text, time_text
from costtrack.money import usd

_MAX_CAUSES = 3


def anomalies_headline(anomalies: Sequence[Mapping[str, Any]], number: int, organization: str) -> str:
    """`user ada spent $734.00, expected about $45.00`; of several anomalies their number and the largest one."""
    first = anomalies[0]
    name = series_name(first["scope"], first["scope_value"], organization)
    headline = f"{name} spent {_usd(first['spent_usd'])}, expected about {_usd(first['expected_usd'])}"
    return headline if number == 1 else f"{number:,} cases of unusual spend: {headline}"


def anomaly_details(anomalies: Sequence[Mapping[str, Any]], organization: str, zone: ZoneInfo) -> list[tuple[str, str]]:
    """Return a name and a sentence for each anomaly, with what most of the difference is due to."""
    return [
        (
            _capitalized(series_name(anomaly["scope"], anomaly["scope_value"], organization), organization),
            _text(anomaly, zone),
        )
        for anomaly in anomalies
    ]


def series_name(scope: str, value: str, organization: str) -> str:
    """`user ada`, or the name of the organization."""
    return organization if scope == LimitScope.ORGANIZATION else f"{LimitScope(scope).label.lower()} {value}"


def _text(anomaly: Mapping[str, Any], zone: ZoneInfo) -> str:
    spent, expected = _usd(anomaly["spent_usd"]), _usd(anomaly["expected_usd"])
    high, low = _usd(anomaly["high_usd"]), _usd(anomaly["low_usd"])
    text = f"{_when(anomaly, zone)}: {spent} instead of about {expected}"
    text += f" (at most {high} is usual)" if anomaly["direction"] == "rise" else f" (at least {low} is usual)"
    causes = [
        f"{series_name(cause['scope'], cause['scope_value'], '')} ({_usd(cause['usd'])})"
        for cause in anomaly["explained_by"][:_MAX_CAUSES]
    ]
    return f"{text}. Mostly {', '.join(causes)}" if causes else text


def _when(anomaly: Mapping[str, Any], zone: ZoneInfo) -> str:
    """`Nov 9, 2026` or `Nov 9, 2026, 2:00 PM`, for an hour its beginning."""
    start = datetime.fromisoformat(anomaly["start"])
    if anomaly["unit"] == Unit.DAY:
        return day_text(start.astimezone(zone).date())
    return f"the hour from {time_text(start, zone)}"


def _usd(text: str) -> str:
    return usd(Decimal(text))


def _capitalized(name: str, organization: str) -> str:
    return name if name == organization else name[:1].upper() + name[1:]
