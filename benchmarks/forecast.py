"""Forecasts of a synthetic year: what they miss, and how often the outcome is within the band.

`python -m benchmarks forecast`. It needs no servers, because the forecast is a pure function of the spend by hour.
"""

import math
import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from benchmarks.report import Figure
from billing.reports.forecast.model import BAND, HORIZONS, HorizonCheck, HourlySpend, back_test
from costtrack.calendar import Calendar

START = datetime(2025, 1, 6, tzinfo=UTC)
"""A Monday."""
OUTAGE_DAY, RUNAWAY_DAY, LAUNCH_DAY = 120, 230, 200
COVERAGE = (0.7, 0.9)
"""What the forecast page claims: about eight of ten outcomes are within the band."""
MAX_ERROR = {6: 0.30, 24: 0.25, 72: 0.22, 168: 0.20, 336: 0.20, 744: 0.22}
_HOURS_OF_DAY, _WORKING_DAYS, _DAYS_OF_WEEK = 24, 5, 7
ZONE = "Europe/Berlin"
_YEARS = 10


def year_of_spend(seed: int, *, days: int = 364) -> dict[datetime, float]:
    """Return the spend of each hour: working days and hours, growth of 1.2% a week, chance by week, day and hour, an
    outage of eight hours, a launch that adds 80%, and a runaway loop of half a day."""
    chance = random.Random(seed)
    spend: dict[datetime, float] = {}
    drift, zone = 0.0, ZoneInfo(ZONE)
    for day in range(days):
        if day % _DAYS_OF_WEEK == 0:
            drift = 0.6 * drift + chance.gauss(0, 0.06)
        level = 5 * math.exp(0.012 * day / _DAYS_OF_WEEK)
        of_day = level * math.exp(drift + chance.gauss(0, 0.12)) * (1.8 if day >= LAUNCH_DAY else 1)
        for hour in range(_HOURS_OF_DAY):
            instant = START + timedelta(days=day, hours=hour)
            local = instant.astimezone(zone)
            shape = (1 if local.weekday() < _WORKING_DAYS else 0.25) * (
                0.15 + math.exp(-(((local.hour - 14) / 4) ** 2))
            )
            usd = of_day * shape * math.exp(chance.gauss(0, 0.25))
            if day == OUTAGE_DAY and 8 <= hour < 16:  # noqa: PLR2004 - working hours
                usd = 0.0
            if day == RUNAWAY_DAY and hour >= 10:  # noqa: PLR2004 - until midnight
                usd += 12 * level
            spend[instant] = usd
    return spend


def checks_of_year(seed: int) -> list[HorizonCheck]:
    spend = year_of_spend(seed)
    hourly = HourlySpend.of(spend, until=max(spend) + timedelta(hours=1), calendar=Calendar(ZoneInfo(ZONE)))
    assert hourly is not None
    return back_test(hourly)


def run() -> list[Figure]:
    years = [checks_of_year(seed) for seed in range(_YEARS)]
    figures = []
    for index, hours in enumerate(HORIZONS):
        checks = [checks[index] for checks in years]
        days = hours / _HOURS_OF_DAY
        name = f"{hours} hours" if days <= 1 else f"{days:g} days"
        errors, covered = [check.error * 100 for check in checks], [check.coverage * 100 for check in checks]
        limit = MAX_ERROR[hours] * 100
        figures += [
            Figure(f"{name} ahead: error", "% of spend", errors, limit=limit, lower_is_better=True),
            Figure(f"{name} ahead: within the band of {BAND:.0%}", "%", covered, limit=COVERAGE[0] * 100),
        ]
    return figures
