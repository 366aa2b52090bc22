"""Forecasts of an organization, its teams and its credentials: the page beside the API, and the nightly back-test."""

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.test import Client
from rest_framework.test import APIClient

from billing.forecasts import back_test_forecasts
from billing.models import ForecastCheck
from billing.models.rollups import ScopeHour
from billing.reports.forecast.forecasts import forecast_by_day
from costtrack.calendar import Unit
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.usage import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def add_hours(organization: Organization, scope: str, value: str, *, days: int) -> None:
    """A dollar in each hour, until the current one."""
    end = NOW.replace(minute=0, second=0, microsecond=0)
    ScopeHour.objects.bulk_create(_hour(organization, scope, value, end - n * HOUR) for n in range(1, days * 24 + 1))


def _hour(organization: Organization, scope: str, value: str, hour: datetime) -> ScopeHour:
    return ScopeHour(
        organization=organization,
        scope=scope,
        value=value,
        hour=hour,
        archived=False,
        requests=1,
        unpriced=0,
        cost_usd=Decimal(1),
        charged_usd=Decimal(1),
        last_received_at=hour,
    )


def test_the_back_test_is_stored_and_shown_beside_the_forecast(
    organization: Organization, api: APIClient, sign_in: SignIn, viewer: User
) -> None:
    add_hours(organization, "organization", "", days=45)
    add_hours(organization, "team", "search", days=45)
    add_hours(organization, "team", "ads", days=3)
    assert back_test_forecasts(organization=organization, now=NOW - DAY) == 3
    ScopeHour.objects.filter(scope="team", value="ads").delete()
    assert back_test_forecasts(organization=organization, now=NOW) == 2
    assert set(ForecastCheck.objects.values_list("scope", "value")) == {("organization", ""), ("team", "search")}

    (whole,) = api.get("/usage/forecast").json()["results"]
    day, _, month = whole["periods"]
    assert (day["period"], month["period"]) == ("day", "month")
    assert Decimal(day["low_usd"]) == Decimal(day["expected_usd"]) == Decimal(day["high_usd"])
    assert (day["error"], day["coverage"]) == (0, 1)
    assert month["low_usd"] is None
    teams = api.get("/usage/forecast", {"by": "team"}).json()
    assert [(row["key"], row["has_history"]) for row in teams["results"]] == [("search", True)]
    assert api.get("/usage/forecast", {"by": "model"}).status_code == 422
    assert api.get("/usage/forecast", {"period": "day"}).status_code == 422

    browser = sign_in(viewer)
    page = text(browser, "/o/acme/admin/forecast/")
    assert "Forecast accuracy" in page
    assert "24 hours" not in page
    assert "1 day</td>" in page or "1 day</th>" in page
    assert "search" in text(browser, "/o/acme/admin/forecast/?by=team")

    chart = browser.get("/o/acme/admin/forecast/").context["chart"]
    days = calendar.monthrange(NOW.year, NOW.month)[1]
    overlays = {overlay.name: overlay.values for overlay in chart.overlays}
    assert (len(chart.labels), len(chart.lines[0].values), set(overlays)) == (
        days,
        NOW.day,
        {"Expected", "High", "Low"},
    )
    assert [len(values) for values in overlays.values()] == [days] * 3
    assert overlays["Expected"][NOW.day - 2] is None
    assert overlays["Expected"][NOW.day - 1] == pytest.approx(
        float(day["expected_usd"]) - float(day["spent_usd"]) + chart.lines[0].values[-1]
    )
    assert overlays["Expected"][-1] == pytest.approx(float(month["expected_usd"]), abs=1e-5)
    assert overlays["Low"][-1] is None  # as the month has no band yet


def test_without_a_week_of_history_the_page_says_so(
    organization: Organization, api: APIClient, sign_in: SignIn, viewer: User
) -> None:
    add_hours(organization, "organization", "", days=6)
    (whole,) = api.get("/usage/forecast").json()["results"]
    assert not whole["has_history"]
    assert whole["periods"][0]["expected_usd"] is None
    assert "Not enough history" in text(sign_in(viewer), "/o/acme/admin/forecast/")


def test_the_chart_shows_the_week_when_the_month_is_almost_over(organization: Organization) -> None:
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    ScopeHour.objects.bulk_create(_hour(organization, "organization", "", now - n * HOUR) for n in range(1, 8 * 24))
    unit, days = forecast_by_day(organization=organization, now=now)
    assert (unit, len(days)) == (Unit.WEEK, 7)
    assert [day.spent_usd is None for day in days] == [False] + [True] * 6
    assert days[-1].expected_usd == pytest.approx(Decimal(6 * 24 + 12))


def text(browser: Client, url: str) -> str:
    response = browser.get(url)
    assert response.status_code == 200
    return response.content.decode()
