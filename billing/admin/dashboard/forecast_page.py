"""The page of forecasts: what today, this week and this month will have cost, and how well forecasts have done.

Its figures are those of `GET /usage/forecast`.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, cast

from django import forms
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import INVALID_FILTERS, Card, EmptyState, Figure
from billing.admin.components.charts import Chart, Line, Overlay, Role
from billing.admin.components.datetimes import period_label
from billing.admin.components.form_fields import FilterChoiceField
from billing.admin.components.table_files import TableFilesPage
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url
from billing.admin.dashboard.usage.usage_metrics import usd_rounded
from billing.reports.forecast.forecasts import (
    FORECAST_DIMENSIONS,
    DayForecast,
    PeriodForecast,
    SeriesForecast,
    forecast_by_day,
    forecasts,
)
from billing.reports.forecast.model import BAND, HorizonCheck
from billing.reports.usage.figures import DIMENSION_OF, GroupBy
from costtrack.admin_site import register_page
from costtrack.calendar import Calendar, Unit
from costtrack.file_columns import ComputedColumn, Kind, computed
from costtrack.money import usd

_PERIOD_NAMES = {Unit.DAY: "Today", Unit.WEEK: "This week", Unit.MONTH: "This month"}
_HOURS_OF_DAY = 24
_HOW = (
    "The forecast uses the hours and weekdays of the last four weeks. Each night it is also made for the days of the "
    f"last year and compared with actual spend. The band is meant to include {BAND:.0%} of the results."
)


class ForecastForm(forms.Form):
    by = FilterChoiceField(
        required=False,
        label="Forecast of",
        choices=[("", "Organization"), *((by.value, f"Each {by.value}") for by in FORECAST_DIMENSIONS)],
    )


class ForecastPage(TableFilesPage):
    title: ClassVar[str] = "Forecast"
    template_name: ClassVar[str] = "admin/dashboard/forecast.html"
    refresh_seconds: ClassVar[int] = 60

    def page_context(self) -> dict[str, Any]:
        form = ForecastForm(self.request.GET)
        if not form.is_valid():
            return {"form": form, "empty": INVALID_FILTERS}
        chosen = form.cleaned_data["by"]
        by = GroupBy(chosen) if chosen else None
        rows = forecasts(organization=self.organization, by=by, now=self.now)
        if by is not None:
            return {"form": form, "cards": [self._series_card(rows, by)]}
        (whole,) = rows
        if not whole.has_history:
            return {"form": form, "empty": _not_enough()}
        tested = f"Last tested {self.times.inline(whole.checked_at)}." if whole.checked_at is not None else ""
        return {
            "form": form,
            "figures": [_figure(period) for period in whole.periods],
            "chart": _chart(*forecast_by_day(organization=self.organization, now=self.now), self.organization.calendar),
            "cards": [self._checks_card(whole.checks, tested)],
        }

    def _series_card(self, rows: Sequence[SeriesForecast], by: GroupBy) -> Card:
        label = DIMENSION_OF[by].label
        periods = tuple(
            Column[SeriesForecast](_PERIOD_NAMES[unit], partial(_period_cell, index=index), is_number=True)
            for index, unit in enumerate(_PERIOD_NAMES)
        )
        columns = (
            Column[SeriesForecast](label, _name),
            *periods,
            Column[SeriesForecast]("Error of this month", lambda row: _error(row.periods[-1]), is_number=True),
        )
        empty = "No forecasts yet. They are made each night for what had spend in the last four weeks."
        file = self.table_file(f"forecast-by-{by.value}", _series_columns(by), lambda: rows)
        table = Table(f"Forecast by {label.lower()}", columns, rows, empty=empty, file=file)
        return Card(f"By {label.lower()}", text=_HOW, table=table)

    def _checks_card(self, checks: Sequence[HorizonCheck], tested: str) -> Card:
        columns = (
            Column[HorizonCheck]("Time ahead", _time_ahead),
            Column[HorizonCheck]("Error", lambda check: f"{check.error:.0%}", is_number=True),
            Column[HorizonCheck]("Within the band", lambda check: f"{check.coverage:.0%}", is_number=True),
            Column[HorizonCheck]("Forecasts tested", lambda check: formatting.count(check.tested), is_number=True),
        )
        empty = "Not enough history. A band for a day needs six weeks of spend, one for a month fourteen weeks."
        file = self.table_file("forecast-tests", _CHECK_COLUMNS, lambda: checks)
        table = Table("Forecast accuracy", columns, checks, empty=empty, file=file)
        return Card("Forecast accuracy", text=f"{_HOW} {tested}".strip(), table=table)


_CHECK_COLUMNS = (
    *computed(Kind.COUNT, hours_ahead=lambda check: check.hours),
    *computed(Kind.DECIMAL, error=lambda check: check.error, coverage=lambda check: check.coverage),
    *computed(Kind.COUNT, tested=lambda check: check.tested),
)


def _series_columns(by: GroupBy) -> list[ComputedColumn]:
    columns = [ComputedColumn(DIMENSION_OF[by].parameter, Kind.TEXT, lambda row: row.key)]
    columns.append(ComputedColumn("name", Kind.TEXT, lambda row: row.name))
    for index, unit in enumerate(_PERIOD_NAMES):
        for name in ("spent_usd", "expected_usd", "low_usd", "high_usd"):
            value = partial(_amount, index=index, name=name)
            columns.append(ComputedColumn(f"{unit.value}_{name}", Kind.AMOUNT, value))
    return columns


def _amount(row: SeriesForecast, *, index: int, name: str) -> Decimal | None:
    return cast("Decimal | None", getattr(row.periods[index], name))


def _figure(period: PeriodForecast) -> Figure:
    notes = (_band(period) or "Not enough history for a band", f"{usd(period.spent_usd)} spent so far")
    return Figure(_PERIOD_NAMES[period.unit], _about(period.expected_usd), notes)


def _chart(unit: Unit, days: Sequence[DayForecast], calendar: Calendar) -> Chart:
    """Return the running sum of a period: what is spent, what is expected, and the band."""
    spent = [day.spent_usd for day in days if day.spent_usd is not None]
    band = [
        _overlay("High", Role.BAND, [day.high_usd for day in days]),
        _overlay("Low", Role.BAND, [day.low_usd for day in days]),
    ]
    return Chart(
        f"Spend of this {unit}, day by day",
        [period_label(calendar, Unit.DAY, day.span) for day in days],
        [Line.of_costs("Spent", spent)],
        unit="usd",
        kind="line",
        is_stacked=False,
        overlays=[
            _overlay("Expected", Role.EXPECTED, [day.expected_usd for day in days]),
            *(band if any(day.low_usd is not None for day in days) else []),
        ],
    )


def _overlay(name: str, role: Role, amounts: Sequence[Decimal | None]) -> Overlay:
    values = [None if amount is None else float(amount) for amount in amounts]
    return Overlay(name, role, values, ["" if amount is None else usd_rounded(amount) for amount in amounts])


def _not_enough() -> EmptyState:
    text = "A forecast needs a week of spend. Until then, limits are compared with the rate of the last 24 hours."
    return EmptyState("query_stats", "Not enough history", text, [("View usage", admin_url("usage"))])


def _name(row: SeriesForecast) -> SafeString | str:
    return formatting.two_lines(row.name, row.key) if row.name != row.key else formatting.name(row.name)


def _period_cell(row: SeriesForecast, *, index: int) -> SafeString | str:
    return _cell(row.periods[index])


def _cell(period: PeriodForecast) -> SafeString | str:
    if period.expected_usd is None:
        return formatting.two_lines(f"{usd(period.spent_usd)} so far", "Not enough history")
    return formatting.two_lines(_about(period.expected_usd), _band(period))


def _error(period: PeriodForecast) -> str:
    if period.check is None:
        return formatting.NOTHING
    return f"{period.check.error:.0%}"


def _about(expected: Decimal | None) -> str:
    return formatting.NOTHING if expected is None else f"About {usd_rounded(expected)}"


def _band(period: PeriodForecast) -> str:
    """Return `$90.00 to $120.00`, empty without a band."""
    if period.low_usd is None or period.high_usd is None:
        return ""
    return f"{usd_rounded(period.low_usd)} to {usd_rounded(period.high_usd)}"


def _time_ahead(check: HorizonCheck) -> str:
    if check.hours < _HOURS_OF_DAY:
        return f"{check.hours} hours"
    days = check.hours // _HOURS_OF_DAY
    return f"{days} day{'' if days == 1 else 's'}"


register_page("forecast/", ForecastPage.as_view(), name="forecast")
