"""The numbers of the usage page are those of the API, whatever is filtered."""

import re
from decimal import Decimal
from itertools import cycle

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.admin.components.formatting import count
from billing.admin.dashboard.usage.usage_metrics import percent
from costtrack.money import usd
from organizations.models import User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.dashboard.usage_month import PAGE, get, get_json, monday_noon, month
from tests.billing.admin.tables import column, texts
from tests.conftest import Key

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
    assert of_window["Cost"].value == usd(Decimal(answer["cost_usd"]))
    assert of_window["Requests"].value == count(answer["requests"])
    assert of_window["Requests"].notes[0] == f"{count(answer['errors'])} failed"
    assert of_window["Tokens"].value == count(answer["total_tokens"])
    assert of_window["Error rate"].value == percent(answer["error_rate"])
    spend = [figure.value for figure in page.context["spend"]]
    names = ("today_usd", "rolling_7d_usd", "month_to_date_usd")
    assert spend == [usd(Decimal(answer["spend"][name])) for name in names]
    if answer["previous"] is not None and Decimal(answer["previous"]["cost_usd"]):
        assert usd(Decimal(answer["previous"]["cost_usd"])) in of_window["Cost"].notes[-1]
    for value in (*spend, *(figure.value for figure in of_window.values())):
        assert f"<strong>{value}</strong>" in page.content.decode()


@pytest.mark.usefixtures("month")
def test_what_is_spent_now_is_beside_what_was_spent_before(owner: User, sign_in: SignIn, api: APIClient) -> None:
    today, _, month = get(sign_in(owner)).context["spend"]
    for figure, name in ((today, "today"), (month, "month")):
        before = Decimal(get_json(api, "summary", f"range={name}")["previous"]["cost_usd"])
        assert usd(before) in figure.notes[-1]
    assert "trending_up" in today.notes[-1] or "trending_down" in today.notes[-1]


@pytest.mark.parametrize(
    ("view", "field"), [("requests", "requests"), ("tokens", "total_tokens"), ("cost", "cost_usd")]
)
@pytest.mark.usefixtures("month")
def test_the_chart_is_that_of_the_api(view: str, field: str, owner: User, sign_in: SignIn, api: APIClient) -> None:
    grouped = zip(FILTERS, cycle(("model", "capability", "credential", "status")), strict=False)
    for query, by in grouped:
        answer = get_json(api, "timeseries", f"{query}&view={view}&group_by={by}")
        chart = get(sign_in(owner), f"{query}&view={view}&group_by={by}").context["usage"].chart
        assert [line.name for line in chart.lines] == [
            item["name"] or f"Without a {by}" for item in answer["series"]
        ], "the largest first"
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


@pytest.mark.parametrize("query", FILTERS)
@pytest.mark.usefixtures("month")
def test_tables_are_those_of_the_api(query: str, owner: User, sign_in: SignIn, api: APIClient) -> None:
    page = get(sign_in(owner), query)
    for path, table in (
        ("capabilities", page.context["capabilities"]),
        ("credentials", page.context["tables"][1]),
    ):
        answer = [item for item in get_json(api, path, query)[path] if item["requests"] or Decimal(item["cost_usd"])]
        assert [(row["Requests"], row["Cost"]) for row in texts(table)] == [
            (count(item["requests"]), usd(Decimal(item["cost_usd"]))) for item in answer
        ]
        assert [(row.figures.total_tokens, row.figures.error_rate) for row in table.rows] == [
            (item["total_tokens"], item["error_rate"]) for item in answer
        ]
        for cells, item in zip(table.cells, answer, strict=True):
            (width,) = re.findall('rect class="ct-spent" width="([^"]*)%"', str(cells[-1][1]))
            assert float(width) == pytest.approx(item["cost_share"] * 100, abs=0.001)
    answer = get_json(api, "capabilities", query)["capabilities"]
    for row, item in zip(texts(page.context["capabilities"]), answer, strict=True):
        assert (row["Tokens"], row["Error rate"]) == (count(item["total_tokens"]), percent(item["error_rate"]))


@pytest.mark.parametrize("query", ["", "range=today", "start_date=2026-10-30&end_date=2026-11-01", "range=month"])
@pytest.mark.usefixtures("month")
def test_models_add_up_to_the_whole_and_so_do_users(query: str, owner: User, sign_in: SignIn, api: APIClient) -> None:
    models, _, users, tags = get(sign_in(owner), query).context["tables"]
    answer = get_json(api, "summary", query)
    for table in (models, users):
        assert sum(row.requests for row in table.rows) == answer["requests"]
    tagged = sum(Decimal(cost.lstrip("$")) for cost in column(tags, "Cost"))
    own = get_json(api, "summary", f"{query}&client_id=none")
    assert tagged == Decimal(own["cost_usd"]).quantize(Decimal("0.01"))


@pytest.mark.usefixtures("month")
def test_users_and_tags_are_known_for_every_filter(owner: User, sign_in: SignIn, key: Key, api: APIClient) -> None:
    browser = sign_in(owner)
    users, tags = get(browser, f"client_id={key.credential.client_id}&model=gpt-4o").context["tables"][2:]
    assert [(row["User"], row["Requests"], row["Cost"]) for row in texts(users)] == [("ada", "3", "$0.75")]
    assert tags.rows == []
    for query in ("capability=chat", "status=failure", "client_id=none"):
        for index, by in ((2, "user"), (3, "tag")):
            rows = get(browser, query).context["tables"][index].rows
            results = get_json(api, "breakdown", f"{query}&group_by={by}")["results"]
            assert [(row.requests, row.cost_usd) for row in rows] == [
                (row["requests"], Decimal(row["cost_usd"])) for row in results if by == "user" or row["tag"]
            ]
    assert get(browser, "client_id=unknown").context["tables"][2].empty == "No events with a user."


@pytest.mark.usefixtures("month")
def test_everybody_with_access_sees_the_same_numbers(
    owner: User, viewer: User, operator: User, stranger: User, sign_in: SignIn
) -> None:
    seen = [[figure.value for figure in get(sign_in(item)).context["figures"]] for item in (owner, viewer, operator)]
    assert seen[0] == seen[1] == seen[2]
    assert sign_in(stranger).get(PAGE).status_code == 404
    assert Client().get(PAGE).status_code == 302
