"""The numbers of the usage page are those of the API, whatever is filtered."""

from decimal import Decimal
from itertools import cycle
from urllib.parse import urlencode

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.admin.components.formatting import count
from billing.admin.dashboard.usage.usage_metrics import percent
from costtrack.clock import iso
from costtrack.money import usd
from organizations.models import User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.dashboard.usage_month import PAGE, call, get, get_json, monday_noon, month
from tests.billing.admin.tables import texts
from tests.usage import NOW, Send

__all__ = ["monday_noon", "month"]  # fixtures from another module

FILTERS = (
    "",
    "range=today",
    "range=yesterday",
    "range=month",
    "range=90d",
    "start_date=2026-10-30&end_date=2026-11-01",
    "capability=chat",
    "model=gpt-4o",
    "status=failure",
    "client_id=none",
    "range=7d&capability=chat&model=o3&status=success",
    "model=nobody-uses-it",
)


@pytest.mark.parametrize("query", FILTERS)
@pytest.mark.usefixtures("month")
def test_figures_are_those_of_the_api(query: str, owner: User, sign_in: SignIn, api: APIClient) -> None:
    page, answer = get(sign_in(owner), query), get_json(api, "summary", query)
    of_window = {figure.name: figure for figure in page.context["figures"]}
    cost = usd(Decimal(answer["cost_usd"]))
    is_unpriced = not Decimal(answer["cost_usd"]) and answer["unpriced_events"]
    assert of_window["Cost"].value == ("No price yet" if is_unpriced else cost)
    assert of_window["Requests"].value == count(answer["requests"])
    assert of_window["Requests"].notes[0] == f"{count(answer['errors'])} failed"
    assert of_window["Tokens"].value == count(answer["total_tokens"])
    assert of_window["Error rate"].value == percent(answer["error_rate"])
    today, _, this_month = (shown.figure.value for shown in page.context["spend_figures"])
    spend = answer["spend"]
    assert [today, this_month] == [usd(Decimal(spend[name])) for name in ("today_usd", "month_to_date_usd")]
    if "month" not in query and answer["previous"] is not None and Decimal(answer["previous"]["cost_usd"]):
        assert usd(Decimal(answer["previous"]["cost_usd"])) in of_window["Cost"].notes[-1]
    for value in (today, this_month, *(figure.value for figure in of_window.values())):
        assert f"<strong>{value}</strong>" in page.content.decode()


@pytest.mark.usefixtures("month")
def test_each_period_is_compared_with_the_same_part_of_the_one_before(
    owner: User, sign_in: SignIn, api: APIClient
) -> None:
    """It is Monday the 2nd, 17:30: so with Sunday, with last Monday, and with the first two days of October."""
    page = get(sign_in(owner), "range=month")
    today, week, month = (shown.figure for shown in page.context["spend_figures"])
    for figure, start, end in (
        (today, "2026-11-01T00:00:00+05:30", "2026-11-01T17:30:00+05:30"),
        (week, "2026-10-26T00:00:00+05:30", "2026-10-26T17:30:00+05:30"),
        (month, "2026-10-01T00:00:00+05:30", "2026-10-02T17:30:00+05:30"),
    ):
        window = urlencode({"start_date": start, "end_date": end})
        assert usd(Decimal(get_json(api, "summary", window)["cost_usd"])) in figure.notes[0]
    october = get_json(api, "summary", "range=last_month")["cost_usd"]
    assert f"{usd(Decimal(october))} in all of last month" in month.notes
    assert page.context["figures"][0].notes[0] == month.notes[0].replace(
        "by this time last month", "in the previous period"
    )


@pytest.mark.parametrize(
    ("view", "field"), [("requests", "requests"), ("tokens", "total_tokens"), ("cost", "cost_usd")]
)
@pytest.mark.usefixtures("month")
def test_the_chart_is_that_of_the_api(view: str, field: str, owner: User, sign_in: SignIn, api: APIClient) -> None:
    grouped = zip(FILTERS, cycle(("model", "capability", "credential", "status")), strict=False)
    for query, by in grouped:
        chosen = f"{query}&view={view}&group_by={by}&granularity=day"
        answer = get_json(api, "timeseries", chosen)
        chart = get(sign_in(owner), chosen).context["usage"].chart
        assert [line.name for line in chart.lines] == [item["name"] or f"No {by}" for item in answer["series"]], (
            "the largest first"
        )
        for line, item in zip(chart.lines, answer["series"], strict=True):
            assert line.values == [float(bucket[field]) for bucket in item["buckets"]]


@pytest.mark.usefixtures("month")
def test_a_chart_that_is_not_stacked_shows_what_its_figures_consist_of(
    owner: User, sign_in: SignIn, api: APIClient
) -> None:
    browser = sign_in(owner)
    answer = get_json(api, "timeseries", "view=tokens")
    chart = get(browser, "view=tokens&group_by=none").context["usage"].chart
    assert [line.name for line in chart.lines] == ["Prompt", "Completion"]
    assert sum(chart.lines[0].values) == answer["total"]["prompt_tokens"]
    assert sum(chart.lines[1].values) == answer["total"]["completion_tokens"]
    succeeded, failed = get(browser, "view=requests&group_by=none").context["usage"].chart.lines
    answer = get_json(api, "summary")
    assert (sum(failed.values), sum(succeeded.values)) == (answer["errors"], answer["requests"] - answer["errors"])
    (cost,) = get(browser, "view=cost&group_by=none").context["usage"].chart.lines
    assert sum(cost.values) == pytest.approx(float(get_json(api, "summary")["cost_usd"]))


@pytest.mark.usefixtures("month")
def test_the_table_below_the_chart_is_that_of_the_api(owner: User, sign_in: SignIn, api: APIClient) -> None:
    groups = ("model", "capability", "credential", "status", "user", "provider")
    for query, by in zip(FILTERS, cycle(groups), strict=False):
        page = get(sign_in(owner), f"{query}&group_by={by}")
        results = get_json(api, "breakdown", f"{query}&group_by={by}")["results"]
        table = page.context["breakdown"]
        without = "" if by in ("credential", "status") else f"No {by}"  # these have other names here
        # Those that cost the same have no order.
        shown = sorted((without and row.name, row.figures.cost_usd, row.figures.requests) for row in table.rows)
        assert shown == sorted(
            (without and (row[by] or without), Decimal(row["cost_usd"]), row["requests"]) for row in results
        ), query
        assert [row.figures.cost_usd for row in table.rows] == sorted(
            (row.figures.cost_usd for row in table.rows), reverse=True
        )
        total = get_json(api, "summary", query)
        assert sum(row.figures.cost_usd for row in table.rows) == Decimal(total["cost_usd"])
        assert sum(row.figures.total_tokens for row in table.rows) == total["total_tokens"]


def test_what_has_no_price_is_not_zero(owner: User, sign_in: SignIn, send: Send) -> None:
    send(
        {"occurred_at": iso(NOW), "model": "house-13b", "input_tokens": 4, "service": "in-house"},
        call(1, "2", model="mixed"),
        {"occurred_at": iso(NOW), "model": "mixed", "input_tokens": 4, "service": "in-house"},
    )
    page = get(sign_in(owner))
    rows = {row["Model"]: row["Cost"] for row in texts(page.context["breakdown"])}
    assert rows == {"mixed": "$2.00 1 without a price", "house-13b": "No price yet"}
    unpriced = get(sign_in(owner), "model=house-13b")
    assert unpriced.context["figures"][0].value == "No price yet"
    assert [shown.figure.value for shown in unpriced.context["spend_figures"]] == ["No price yet"] * 3


@pytest.mark.usefixtures("month")
def test_all_roles_with_access_see_the_same_numbers(
    owner: User, viewer: User, operator: User, stranger: User, sign_in: SignIn
) -> None:
    seen = [[figure.value for figure in get(sign_in(item)).context["figures"]] for item in (owner, viewer, operator)]
    assert seen[0] == seen[1] == seen[2]
    assert sign_in(stranger).get(PAGE).status_code == 404
    assert Client().get(PAGE).status_code == 302
