"""`GET /usage/forecast`: what a day, week and month will have cost, with a band and how well it has done."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.operations import operation
from billing.api.usage.figures import UsageView, local_formatter
from billing.reports.forecast.forecasts import (
    FORECAST_DIMENSIONS,
    FORECAST_UNITS,
    PeriodForecast,
    SeriesForecast,
    forecasts,
)
from billing.reports.forecast.model import BAND
from billing.reports.usage.figures import GroupBy
from costtrack.calendar import Calendar
from costtrack.clock import utc_now
from costtrack.responses import Amount, LocalTime, ResponseBody, about, choice
from costtrack.serializers import StrictSerializer, validated

FORECAST_DIMENSION_NAMES = [by.value for by in FORECAST_DIMENSIONS]
_DECIMALS_OF_SHARES = 4


class ForecastPeriod(ResponseBody):
    period: Annotated[str, choice([unit.value for unit in FORECAST_UNITS])]
    start: LocalTime
    end: Annotated[LocalTime, about("Exclusive.")]
    spent_usd: Annotated[Amount, about("Exact spend until now.")]
    expected_usd: Annotated[
        Amount | None, about("Estimated spend of the whole period. Null: less than a week of history.")
    ]
    low_usd: Annotated[Amount | None, about("Start of the band. Null until enough forecasts of the past are tested.")]
    high_usd: Annotated[Amount | None, about("End of the band.")]
    error: Annotated[
        float | None,
        about("What forecasts of as long a time have missed, as a share of spend: 0.1 is 10%. Null without a band."),
    ]
    coverage: Annotated[float | None, about("The share of these outcomes that were within the band.")]
    tested: Annotated[int, about("The number of these forecasts.")]


class ForecastSeries(ResponseBody):
    key: Annotated[str, about("The team or the Client ID; empty for the organization.")]
    name: str
    has_history: Annotated[bool, about("False: there is not enough history, less than a week.")]
    tested_at: Annotated[datetime | None, about("When forecasts were last compared with what was spent.")]
    periods: list[ForecastPeriod]


class ForecastsBody(ResponseBody):
    organization: Annotated[str, about("Its slug.")]
    timezone: str
    currency: Annotated[str, about("USD")]
    by: Annotated[str | None, choice(FORECAST_DIMENSION_NAMES)]
    band: Annotated[float, about("The share of outcomes that a band is meant to include.")]
    as_of: datetime
    results: Annotated[
        list[ForecastSeries],
        about("The largest expected month first: the 50 teams or credentials with the most spend in four weeks."),
    ]


class ForecastParameters(StrictSerializer):
    by = serializers.ChoiceField(
        required=False,
        allow_blank=True,
        choices=FORECAST_DIMENSION_NAMES,
        help_text="A forecast for each team or credential. Absent: that of the organization.",
    )


class UsageForecastView(UsageView):
    """`GET /usage/forecast`"""

    ignores_unknown_parameters: ClassVar[bool] = False

    @operation("usage_forecast", ForecastParameters, ForecastsBody)
    def get(self, request: Request) -> Response:
        """Forecast the spend of today, this week and this month, with a band.

        The forecast knows the hour and the weekday. Each night it is tested over the past of every series, and the
        error and the coverage of the band are those of these tests.
        """
        given = {name: value for name, value in request.query_params.items() if name != "organization"}
        by, now = validated(ForecastParameters, given).get("by"), utc_now()
        rows = forecasts(organization=self.organization, by=GroupBy(by) if by else None, now=now)
        body = ForecastsBody(
            organization=self.organization.slug,
            timezone=self.organization.time_zone,
            currency="USD",
            by=by or None,
            band=BAND,
            as_of=now,
            results=[_series(row, self.organization.calendar) for row in rows],
        )
        return Response(body)


def _series(row: SeriesForecast, calendar: Calendar) -> ForecastSeries:
    return ForecastSeries(
        key=row.key,
        name=row.name,
        has_history=row.has_history,
        tested_at=row.checked_at,
        periods=[_period(period, calendar) for period in row.periods],
    )


def _period(row: PeriodForecast, calendar: Calendar) -> ForecastPeriod:
    local, check = local_formatter(calendar), row.check
    return ForecastPeriod(
        period=row.unit.value,
        start=local(row.span.start),
        end=local(row.span.end),
        spent_usd=Amount.of(row.spent_usd),
        expected_usd=_amount(row.expected_usd),
        low_usd=_amount(row.low_usd),
        high_usd=_amount(row.high_usd),
        error=round(check.error, _DECIMALS_OF_SHARES) if check is not None else None,
        coverage=round(check.coverage, _DECIMALS_OF_SHARES) if check is not None else None,
        tested=check.tested if check is not None else 0,
    )


def _amount(usd: Decimal | None) -> Amount | None:
    return None if usd is None else Amount.of(usd)
