"""The usage page's chart: its granularity, and what is drawn beside the bars."""

from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.admin.components.charts import Overlay, Role
from billing.types import LimitWindow
from costtrack.money import usd
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.dashboard.usage_month import get, get_json, monday_noon, month
from tests.limits import set_limit

__all__ = ["monday_noon", "month"]  # fixtures from another module


def overlays(page: Any) -> dict[Role, Overlay]:
    return {overlay.role: overlay for overlay in page.context["usage"].chart.overlays}


@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
@pytest.mark.usefixtures("month")
def test_the_granularity_is_chosen_by_the_address(unit: str, owner: User, sign_in: SignIn, api: APIClient) -> None:
    page = get(sign_in(owner), f"range=30d&granularity={unit}&group_by=none")
    chart = page.context["usage"].chart
    answer = get_json(api, "timeseries", f"range=30d&granularity={unit}&view=cost")
    assert chart.title == f"Cost by {unit}"
    assert chart.lines[0].values == [float(bucket["cost_usd"]) for bucket in answer["buckets"]]
    (current,) = [name for name, _, is_current in page.context["usage"].granularities if is_current]
    assert current == unit.capitalize()


@pytest.mark.usefixtures("month")
def test_what_cannot_be_shown_is_corrected_and_said(owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    page = get(browser, "range=ever").content.decode()
    assert '<option value="30d" selected>Last 30 days</option>' in page
    assert "Unknown period. Last 30 days is shown instead." in page
    hours = get(browser, "range=90d&granularity=hour")
    assert "The period is too long for a chart by hour." in hours.content.decode()
    assert len(hours.context["usage"].chart.labels) == 90
    for query, default in (
        ("granularity=minute", "Cost by day and model"),
        ("cumulative=yes", "Cost by day and model"),
    ):
        assert get(browser, query).context["usage"].chart.title == default
    # Another filter's fault does not change the period.
    assert get(browser, "range=7d&status=maybe").context["period"].name == "Last 7 days"


@pytest.mark.usefixtures("month")
def test_the_rest_of_the_month_is_expected_and_the_last_month_is_behind_it(
    owner: User, sign_in: SignIn, api: APIClient
) -> None:
    browser = sign_in(owner)
    page = get(browser, "range=month")
    chart, shown = page.context["usage"].chart, overlays(page)
    assert (len(chart.labels), chart.labels[-1]) == (30, "Nov 30")
    assert {len(line.values) for line in chart.lines} == {2}
    assert shown[Role.EXPECTED].values[0] is None
    expected = [value for value in shown[Role.EXPECTED].values[1:] if value is not None]
    assert len(expected) == 29
    assert min(expected) > 0
    month = page.context["spend_figures"][2].figure
    total = float(get_json(api, "summary", "range=month")["cost_usd"]) + sum(expected)
    assert f"About ${total:.2f} by the end of the month" in month.notes
    october = get_json(api, "timeseries", "range=last_month&granularity=day&view=cost")["buckets"]
    assert shown[Role.PREVIOUS].values == [float(day["cost_usd"]) for day in october[:30]]
    for query in ("range=last_month", "range=month&view=tokens", "range=month&model=o3"):
        assert Role.EXPECTED not in overlays(get(browser, query))
    assert "Previous period" in page.content.decode()


@pytest.mark.usefixtures("month")
def test_cumulative_bars_end_now_and_continue_with_what_is_expected(owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    each, page = get(browser, "range=month"), get(browser, "range=month&cumulative=1")
    chart, shown = page.context["usage"].chart, overlays(page)
    assert chart.title == "Cumulative cost by day and model"
    for line, single in zip(chart.lines, each.context["usage"].chart.lines, strict=True):
        assert line.values == pytest.approx([single.values[0], sum(single.values)])
    total = sum(line.values[-1] for line in chart.lines)
    last = shown[Role.EXPECTED].values[-1]
    rest = [value for value in overlays(each)[Role.EXPECTED].values if value is not None]
    assert last == pytest.approx(total + sum(rest))
    assert shown[Role.PREVIOUS].values[-1] == pytest.approx(sum(overlays(each)[Role.PREVIOUS].values))  # type: ignore[arg-type]


@pytest.mark.usefixtures("month")
def test_the_limit_is_a_line_of_what_it_is_for(owner: User, organization: Organization, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    set_limit(organization, "14", window=LimitWindow.ROLLING_7D)
    line = overlays(get(browser, "range=7d"))[Role.LIMIT]
    assert (line.name, line.values) == ("$2.00 a day, to stay within $14.00 for any seven days", [2.0] * 7)
    assert Role.LIMIT not in overlays(get(browser, "range=7d&view=requests"))
    assert Role.LIMIT not in overlays(get(browser, "range=7d&model=o3"))
    set_limit(organization, "3", window=LimitWindow.CALENDAR_DAY)
    assert overlays(get(browser, "range=7d"))[Role.LIMIT].name == "Limit of $3.00 for a day"
    set_limit(organization, "1000", window=LimitWindow.CALENDAR_MONTH)
    far = get(browser, "range=month&cumulative=1")
    assert Role.LIMIT not in overlays(far)
    assert "Limit of $1,000.00 for a month is above the chart." in far.content.decode()


@pytest.mark.usefixtures("month")
def test_small_groups_are_one_color_and_all_rows(owner: User, sign_in: SignIn, api: APIClient) -> None:
    page = get(sign_in(owner), "group_by=model")
    assert [row.name for row in page.context["breakdown"].rows] == [
        line.name for line in page.context["usage"].chart.lines
    ]
    cost = Decimal(get_json(api, "summary")["cost_usd"])
    assert page.context["usage"].total == usd(cost)
    totals = page.context["usage"].chart.totals
    assert len(totals) == 30


@pytest.mark.usefixtures("month")
def test_each_figure_is_beside_the_limit_that_is_reached_first(
    owner: User, organization: Organization, sign_in: SignIn
) -> None:
    browser = sign_in(owner)
    week = get(browser).context["spend_figures"][1]
    assert week.limit is None
    set_limit(organization, "1000", window=LimitWindow.ROLLING_7D)
    assert get(browser).context["spend_figures"][1].limit.pace == "Not reached at this pace"
    set_limit(organization, "3", window=LimitWindow.CALENDAR_WEEK)
    first = get(browser).context["spend_figures"][1].limit
    assert first.name == "Organization, week"
    assert "at this pace" in first.pace
    assert "<time" in first.pace
