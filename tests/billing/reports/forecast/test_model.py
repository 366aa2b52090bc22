"""The forecast with its band: a year of spend, and short or empty histories."""

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from benchmarks.forecast import COVERAGE, MAX_ERROR, START, checks_of_year
from billing.reports.forecast.model import HORIZONS, HorizonCheck, HourlySpend, back_test, outlook_of
from costtrack.calendar import Calendar
from costtrack.clock import DAY, HOUR

BERLIN = Calendar(ZoneInfo("Europe/Berlin"))


def steady(days: int, usd: float = 1.0) -> HourlySpend:
    hours = {START + number * HOUR: usd for number in range(days * 24)}
    spend = HourlySpend.of(hours, until=START + days * DAY, calendar=BERLIN)
    assert spend is not None
    return spend


def test_a_year_with_a_launch_an_outage_and_a_runaway_is_forecast_as_well_as_the_page_claims() -> None:
    checks = checks_of_year(seed=3)
    assert [check.hours for check in checks] == list(HORIZONS)
    for check in checks:
        assert check.error <= MAX_ERROR[check.hours]
        assert check.tested > 200
    coverage = sum(check.coverage * check.tested for check in checks) / sum(check.tested for check in checks)
    assert COVERAGE[0] <= coverage <= COVERAGE[1]


def test_less_than_a_week_has_no_forecast_and_a_month_has_no_band_of_a_month() -> None:
    assert HourlySpend.of({}, until=START, calendar=BERLIN) is None
    assert steady(6).pace_at(START + 6 * DAY) is None
    spend = steady(45)
    pace = spend.pace_at(spend.end)
    assert pace is not None
    checks = back_test(spend)
    assert [check.hours for check in checks] == [6, 24, 72]
    day = outlook_of(pace, 20 * HOUR, checks)
    assert (day.low_usd, day.usd, day.high_usd) == (Decimal(20), Decimal(20), Decimal(20))
    month = outlook_of(pace, 31 * DAY, checks)
    assert (month.usd, month.low_usd, month.check) == (Decimal(744), None, None)


def test_a_runaway_is_not_expected_to_recur() -> None:
    calm = steady(28)
    loud = HourlySpend(
        calm.start, [50.0 if 600 <= number < 612 else 1.0 for number in range(672)], calm.hours_of_week, BERLIN
    )
    pace = loud.pace_at(loud.end)
    assert pace is not None
    assert float(pace.usd_until(7 * DAY)) < 1.2 * 168


def test_the_median_error_corrects_and_nothing_is_below_zero() -> None:
    pace = steady(28).pace_at(START + 28 * DAY)
    assert pace is not None
    check = HorizonCheck(24, -2.0, 0.5, 1.0, 0.1, 0.8, 50)
    outlook = outlook_of(pace, timedelta(hours=12), [check])
    # An error is a share of the expected 12 USD and a tenth of what 12 average hours cost.
    assert [float(amount or 0) for amount in (outlook.low_usd, outlook.usd, outlook.high_usd)] == pytest.approx(
        [0, 18.6, 25.2]
    )
