"""Unusual spend of synthetic years: which incidents are found, and how many days are marked without one.

`python -m benchmarks forecast` prints them beside the forecasts. It needs no servers, because bands are a pure function
of the spend by hour.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from statistics import fmean
from zoneinfo import ZoneInfo

from benchmarks.forecast import LAUNCH_DAY, OUTAGE_DAY, RUNAWAY_DAY, START, ZONE, year_of_spend
from benchmarks.report import Figure
from billing.reports.forecast.bands import OutsideWindow, PastDay, windows_outside
from billing.reports.forecast.model import HourlySpend
from costtrack.calendar import Calendar

DAYS = 364
MAX_FALSE_ALARMS = 1.0
"""In 1,000 days of a series."""
INCIDENTS = {"outage": OUTAGE_DAY, "launch": LAUNCH_DAY, "runaway": RUNAWAY_DAY}
_YEARS = 10
_SERIES = 3
_MIN_USD, _MIN_SHARE = 1.0, 0.01
_LAUNCH_DAYS = 7
Hour = Callable[[random.Random, datetime], float]
"""The spend of a local hour."""


def _working(local: datetime) -> float:
    return (1 if local.isoweekday() <= 5 else 0.25) * (0.15 + math.exp(-(((local.hour - 14) / 4) ** 2)))


def _weeks(local: datetime) -> float:
    return (local.replace(tzinfo=None) - START.replace(tzinfo=None)) / timedelta(weeks=1)


def _noise(chance: random.Random, spread: float) -> float:
    return math.exp(chance.gauss(0, spread))


def _of_day(local: datetime, spread: float) -> float:
    """Return what all hours of a day have in common."""
    return _noise(random.Random(local.toordinal()), spread)


def _is_last_of_month(local: datetime) -> bool:
    return (local + timedelta(days=1)).day == 1


def _calls(chance: random.Random, mean: float) -> int:
    """Return a number of calls with this mean (Poisson)."""
    number, product, least = 0, chance.random(), math.exp(-mean)
    while product > least:
        number, product = number + 1, product * chance.random()
    return number


QUIET: Mapping[str, Hour] = {
    "steady": lambda chance, local: 5 * _noise(chance, 0.05),
    "tiny": lambda chance, local: 0.002 * _noise(chance, 0.5),
    "new": lambda chance, local: 5 * _working(local) * _noise(chance, 0.3) if _weeks(local) > 20 else 0,
    "random": lambda chance, local: 5 * _noise(chance, 1),
    "bursts": lambda chance, local: 2 * _noise(chance, 0.4) * (10 if chance.random() < 0.05 else 1),
    "working week": lambda chance, local: 5 * _working(local) * _of_day(local, 0.12) * _noise(chance, 0.25),
    "varying days": lambda chance, local: 5 * _working(local) * _of_day(local, 0.5) * _noise(chance, 0.3),
    "growing": lambda chance, local: 3 * math.exp(0.03 * _weeks(local)) * _working(local) * _noise(chance, 0.3),
    "shrinking": lambda chance, local: 20 * math.exp(-0.03 * _weeks(local)) * _working(local) * _noise(chance, 0.3),
    "one user": lambda chance, local: 0.5 * _calls(chance, 2 * _working(local)) * _noise(chance, 0.5),
    "some days": lambda chance, local: (
        5 * _working(local) * _noise(chance, 0.5) if random.Random(local.toordinal() * 7).random() < 0.3 else 0
    ),
    "weekly job": lambda chance, local: (
        0.05 + (40 * _noise(chance, 0.2) if local.isoweekday() == 3 and local.hour == 3 + local.toordinal() % 3 else 0)
    ),
    "job every two weeks": lambda chance, local: (
        0.02 + (30 * _noise(chance, 0.2) if local.toordinal() % 14 == 3 and local.hour == 4 else 0)
    ),
    "monthly job": lambda chance, local: (
        2 * _working(local) * _noise(chance, 0.25)
        + (50 * _noise(chance, 0.2) if _is_last_of_month(local) and local.hour in (2, 3, 4) else 0)
    ),
}


def year_of(name: str, seed: int) -> dict[datetime, float]:
    """Return the spend of each hour of a quiet year."""
    chance, zone, hours = random.Random(f"{name} {seed}"), ZoneInfo(ZONE), range(DAYS * 24)
    instants = [START + timedelta(hours=hour) for hour in hours]
    return {instant: QUIET[name](chance, instant.astimezone(zone)) for instant in instants}


def days_outside(spend: Mapping[datetime, float]) -> dict[int, list[OutsideWindow]]:
    """Return the windows outside their bands by the number of the day, as if the series were the organization."""
    calendar = Calendar(ZoneInfo(ZONE))
    hourly = HourlySpend.of(spend, until=max(spend) + timedelta(hours=1), calendar=calendar)
    assert hourly is not None
    min_usd = max(_MIN_USD, _MIN_SHARE * sum(hourly.usd) / len(hourly.usd) * 24)
    known: dict[date, PastDay | None] = {}
    first = calendar.date_of(START)
    days = {number: first + timedelta(days=number) for number in range(DAYS)}
    found = {number: windows_outside(hourly, day, min_usd=min_usd, known=known) for number, day in days.items()}
    return {number: windows for number, windows in found.items() if windows}


def incidents_found(days: Mapping[int, list[OutsideWindow]]) -> set[str]:
    """Return the incidents of `year_of_spend` that are found: a launch in its first week."""
    found = {name for name, day in INCIDENTS.items() if day in days}
    return found | ({"launch"} if any(LAUNCH_DAY <= day < LAUNCH_DAY + _LAUNCH_DAYS for day in days) else set())


def false_alarms(days: Mapping[int, list[OutsideWindow]]) -> int:
    """Return the days of `year_of_spend` that are marked and have no incident. The launch changes a week, and the night
    after a runaway in UTC is the next local day."""
    due = {OUTAGE_DAY, RUNAWAY_DAY, RUNAWAY_DAY + 1, *range(LAUNCH_DAY, LAUNCH_DAY + _LAUNCH_DAYS)}
    return len(set(days) - due)


def run() -> list[Figure]:
    years = [days_outside(year_of_spend(seed)) for seed in range(_YEARS)]
    alarms = {"years with incidents": [1_000 * false_alarms(year) / DAYS for year in years]}
    for name in QUIET:
        alarms[name] = [1_000 * len(days_outside(year_of(name, seed))) / DAYS for seed in range(_SERIES)]
    every = [number for numbers in alarms.values() for number in numbers]
    return [
        *(Figure(f"{name} found", f"of {_YEARS} years", [_found(years, name)]) for name in INCIDENTS),
        *(Figure(f"false alarms: {name}", "in 1,000 days", [fmean(numbers)]) for name, numbers in alarms.items()),
        Figure("false alarms", "in 1,000 days", [fmean(every)], limit=MAX_FALSE_ALARMS, lower_is_better=True),
    ]


def _found(years: Sequence[Mapping[int, list[OutsideWindow]]], incident: str) -> float:
    return float(sum(incident in incidents_found(year) for year in years))
