"""The pricing page: the numbers of document 000's endpoints, in the browser."""

import re
from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.http import urlencode
from rest_framework.test import APIClient

from billing.admin.dashboard.pricing.model_costs_tab import text_of
from billing.reports.pricing.run_filter import ModelKey
from billing.reports.pricing.uuids import agent_uuid, model_uuid
from billing.rollups.fold import fold_organization
from costtrack.date_text import day_text
from costtrack.money import usd
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.tables import links, texts
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")

PAGE = "/o/acme/admin/pricing/"
JANUARY = {"start_date": "2025-01-01", "end_date": "2025-01-31"}
GPT = ModelKey("openai", "gpt-4o")
OPUS = ModelKey("anthropic", "claude-3-opus")
HOUSE = ModelKey("", "house/13b")


def call(cost: str, day: str = "15", model: ModelKey = GPT, **more: Any) -> dict[str, Any]:
    at = f"2025-01-{day}T12:00:00Z" if len(day) <= 2 else day
    return {"service": model.service, "model": model.model, "cost_usd": cost, "occurred_at": at, **more}


@pytest.fixture
def january(send: Send) -> None:
    """Calls of three models, two agents and some groups, with something beside the month."""
    ada: dict[str, Any] = {"agent_id": "ada", "agent_name": "Ada"}
    bob: dict[str, Any] = {"agent_id": "bob"}
    tokens: dict[str, Any] = {"input_tokens": 1000, "cache_read_tokens": 200, "output_tokens": 30}
    send(
        call("0.25", "03", **ada, **tokens, group_id="g-1", group_name="Office hours", session_id="s/1"),
        call("1.5", "03", OPUS, **bob, **tokens, group_id="g-1", group_name="Office hours", session_id="s/1"),
        call("0.125", "31", **ada, group_id="g-2", group_name="Grading"),
        call("4", "15", HOUSE, **bob, output_tokens=7, group_id="g-3"),
        {"kind": "tool_call", "tool": "search", "cost_usd": "0.5", "occurred_at": "2025-01-03T23:59:59.999Z"},
        call("64", "2024-12-31T23:59:59Z", **ada, group_id="g-1"),
        call("128", "2025-02-01T00:00:00Z", **ada, group_id="g-2"),
    )


@pytest.fixture
def browser(owner: User, sign_in: SignIn) -> Client:
    return sign_in(owner)


def context(browser: Client, **query: Any) -> Any:
    response = browser.get(PAGE, {**JANUARY, **query})
    assert response.status_code == 200
    return response.context


def drawn(chart: Any) -> dict[tuple[str, str], str]:
    """What the chart says of a day and a model, where it is something."""
    return {
        (label, line.name): text
        for line in chart.lines
        for label, text in zip(chart.labels, line.texts, strict=True)
        if text != "$0.00"
    }


def rows_of(card: Any) -> list[tuple[str, int, Decimal]]:
    return [(row.name, row.runs, row.cost) for row in card.table.rows]


@pytest.mark.parametrize("is_folded", [True, False])
def test_workflows_and_periods_add_up_to_the_page(
    browser: Client, send: Send, organization: Organization, *, is_folded: bool
) -> None:
    send(
        call("1", "01", run_id="r-1", workflow_id="etl"),
        call("2", "14", OPUS, run_id="r-2", workflow_id="etl"),
        call("4", "31", run_id="r-3", workflow_id="chat"),
        call("8", "31"),
        call("16", "2025-02-01T00:00:00Z", run_id="r-1"),
    )
    if is_folded:
        fold_organization(organization_id=organization.pk, now=NOW)
    workflows, weeks = context(browser)["breakdowns"]
    assert rows_of(workflows) == [("chat", 1, 4), ("etl", 2, 3), ("No workflow", 1, 8)]
    assert rows_of(weeks) == [
        ("Jan 27 to Jan 31, 2025", 2, 12),
        ("Jan 13 to Jan 19, 2025", 1, 2),
        ("Jan 1 to Jan 5, 2025", 1, 1),
    ]
    assert browser.get(weeks.table.rows[0].url).context["report"].runs == 2
    assert browser.get(workflows.table.rows[1].url).status_code == 200
    _, days = context(browser, end_date="2025-01-14")["breakdowns"]
    assert rows_of(days) == [("Jan 14, 2025", 1, 2), ("Jan 1, 2025", 1, 1)]
    _, months = context(browser, end_date="2025-12-31")["breakdowns"]
    assert [name for name, _, _ in rows_of(months)] == ["Feb 1 to Feb 28, 2025", "Jan 1 to Jan 31, 2025"]
    filtered, of_model = context(browser, model=text_of(OPUS))["breakdowns"]
    assert (filtered.table.rows, "Remove the filters" in filtered.table.empty) == ((), True)
    assert [runs for _, runs, _ in rows_of(of_model)] == [1]


def test_this_month_is_that_of_the_organization(
    browser: Client, api: APIClient, organization: Organization, send: Send
) -> None:
    """In Auckland, November begins at 11:00 UTC of the last day of October."""
    Organization.objects.filter(pk=organization.pk).update(time_zone="Pacific/Auckland")
    with time_machine.travel(datetime(2026, 11, 15, tzinfo=UTC), tick=False):
        send(
            call("1000", "2026-10-31T10:59:59Z"),
            call("100", "2026-10-31T12:00:00Z"),
            call("1", "2026-11-10T00:00:00Z"),
            now=datetime(2026, 11, 15, tzinfo=UTC),
        )
        page = browser.get(PAGE, {"range": "month"}).context
        assert page["figures"][0].value == "$101.00"
        assert drawn(page["chart"]) == {("Nov 1, 2026", "gpt-4o"): "$100.00", ("Nov 10, 2026", "gpt-4o"): "$1.00"}
        assert [cost for _, _, cost in rows_of(page["models"])] == [101]
        explored = browser.get("/o/acme/admin/explore/").context
        assert explored["figures"][0].value == "$101.00"
        assert api.get("/usage/summary?range=month").json()["cost_usd"] == "101"


# --- The API's numbers -----------------------------------------------------------------------------------------

FILTERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"model": text_of(GPT)}, {"model_ids": [str(model_uuid(GPT))]}),
    ({"model": text_of(HOUSE)}, {"model_ids": [str(model_uuid(HOUSE))]}),
    ({"model": [text_of(GPT), text_of(OPUS)]}, {"model_ids": [str(model_uuid(GPT)), str(model_uuid(OPUS))]}),
    ({"agent": "bob"}, {"agent_ids": [str(agent_uuid("bob"))]}),
    (
        {"agent": ["bob", "ada"], "model": text_of(OPUS)},
        {"agent_ids": [str(agent_uuid("bob")), str(agent_uuid("ada"))], "model_ids": [str(model_uuid(OPUS))]},
    ),
    ({"start_date": "2025-01-03", "end_date": "2025-01-03"}, {"start_date": "2025-01-03", "end_date": "2025-01-03"}),
    ({"start_date": "2024-12-31", "end_date": "2025-02-01"}, {"start_date": "2024-12-31", "end_date": "2025-02-01"}),
]


@pytest.mark.usefixtures("january")
@pytest.mark.parametrize("is_folded", [True, False])
@pytest.mark.parametrize(("query", "body"), FILTERS)
def test_days_and_totals_are_those_of_the_api(
    browser: Client,
    api: APIClient,
    organization: Organization,
    query: dict[str, Any],
    body: dict[str, Any],
    *,
    is_folded: bool,
) -> None:
    if is_folded:
        fold_organization(organization_id=organization.pk, now=NOW)
    result, answer = context(browser, **query), api.post("/system/pricing", {**JANUARY, **body}).json()

    names = {uuid: model["name"] for uuid, model in answer["resources"]["models"].items()}
    expected: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for item in answer["daily"]:
        day = day_text(date.fromisoformat(item["date_key"]))
        expected[day, names.get(item["model_id"], "No model")] += Decimal(item["total_cost"])
    assert drawn(result["chart"]) == {key: usd(cost) for key, cost in expected.items()}
    cost, runs, *_ = result["figures"]
    assert cost[1] == usd(sum(expected.values(), Decimal()))
    assert runs[1] == str(answer["total_count"])
    for field, options in (("model", "model_options"), ("agent", "agent_options")):
        offered = result["form"].fields[field].widget.offers
        assert sorted((item.label, int(item.note)) for item in offered) == sorted(
            (option["label"], option["count"]) for option in answer[options]
        )


ORDERS = [
    {"sort_by": order, "sort_order": direction}
    for order in ("date", "total_cost", "total_tokens", "run_count")
    for direction in ("asc", "desc")
]


@pytest.mark.usefixtures("january")
@pytest.mark.parametrize(
    ("query", "body"),
    [
        *((order, order) for order in ORDERS),
        *(({**query, **ORDERS[3]}, {**body, **ORDERS[3]}) for query, body in FILTERS[1:5]),
        ({"search": "OFFICE"}, {"search": "OFFICE"}),
    ],
)
def test_groups_are_those_of_the_api(
    browser: Client, api: APIClient, query: dict[str, Any], body: dict[str, Any]
) -> None:
    """In every order, and with every filter."""
    result = context(browser, **query)["groups"]
    answer = api.post("/system/groups", {**JANUARY, **body}).json()["data"]

    numbers = ("Requests", "Input", "Output", "Tokens", "Cost")
    assert [
        (group.group_id, group.name, group.session_id, *(row[name] for name in numbers))
        for group, row in zip(result.rows, texts(result), strict=True)
    ] == [
        (
            item["group_key"],
            item["group_name"] or "",
            item["session_id"] or "",
            str(item["run_count"]),
            f"{item['total_input_tokens']:,}",
            f"{item['total_output_tokens']:,}",
            f"{item['total_tokens']:,}",
            usd(Decimal(item["total_cost"])),
        )
        for item in answer
    ]
    tooltips = [re.findall('title="([^"]*)"', str(row[-1][1])) for row in result.cells]
    assert tooltips == [
        [", ".join(item[names]) for names in ("model_names", "agent_names") if item[names]] for item in answer
    ]


@pytest.mark.usefixtures("january")
def test_a_group_is_found_by_its_whole_id_too(browser: Client) -> None:
    assert [row.group_id for row in context(browser, search="g-3")["groups"].rows] == ["g-3"]
    assert not context(browser, search="g-")["groups"].rows
    assert "No group in this period" in browser.get(PAGE, {**JANUARY, "search": "nobody"}).content.decode()


@pytest.mark.usefixtures("january")
def test_a_group_leads_to_its_session(browser: Client) -> None:
    (url,) = links(context(browser, search="g-1")["groups"], "Session")
    assert url.startswith("/o/acme/admin/")
    assert browser.get(url).status_code == 200
    assert links(context(browser, search="g-2")["groups"], "Session") == [""]


# --- The page --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("january")
def test_a_bar_and_a_model_lead_to_the_page_about_them_alone(browser: Client) -> None:
    result = context(browser, search="office", sort_by="total_cost")
    opus = next(line for line in result["chart"].lines if line.name == "claude-3-opus")
    address = opus.urls[result["chart"].labels.index("Jan 3, 2025")]
    alone = browser.get(address).context
    assert alone["figures"][0][1] == "$1.50"
    assert [row.group_id for row in alone["groups"].rows] == ["g-1"]
    row = next(row for row in result["models"].table.rows if row.name == "house/13b")
    assert browser.get(row.url).context["figures"][0][1] == "$4.00"


@pytest.mark.usefixtures("january")
def test_the_export_is_of_the_same_period_and_model(browser: Client) -> None:
    url = context(browser, model=text_of(GPT))["export_url"]
    assert url == "/o/acme/admin/exports/?start_date=2025-01-01&end_date=2025-01-31&model=gpt-4o"
    assert browser.get(url).status_code == 200


def test_the_most_expensive_models_are_drawn_separately_and_the_others_together(browser: Client, send: Send) -> None:
    send(*(call(str(number), model=ModelKey("ours", f"m-{number:02}")) for number in range(1, 41)))
    result = context(browser)
    names = [line.name for line in result["chart"].lines]
    assert names == [*(f"m-{number:02}" for number in range(40, 32, -1)), "32 other models"]
    assert drawn(result["chart"])["Jan 15, 2025", "32 other models"] == usd(Decimal(sum(range(1, 33))))
    assert len(result["models"].table.rows) == 30
    assert "10 models with lower costs are not shown" in browser.get(PAGE, JANUARY).content.decode()


def test_models_of_one_name_are_distinguished_by_their_provider(browser: Client, send: Send) -> None:
    send(call("1", model=ModelKey("a", "m")), call("2", model=ModelKey("b", "m")))
    assert [row.name for row in context(browser)["models"].table.rows] == ["m (b)", "m (a)"]


@pytest.mark.usefixtures("january")
def test_years_are_drawn_by_months_and_only_as_far_as_there_is_usage(browser: Client, send: Send) -> None:
    send(call("8", "2022-06-15T12:00:00Z"))
    chart = context(browser, start_date="2000-01-01", end_date="2199-12-31")["chart"]
    assert (chart.labels[0], chart.labels[-1], len(chart.labels)) == ("Jun 2022", "Feb 2025", 33)
    assert drawn(chart)["Jan 2025", "gpt-4o"] == usd(Decimal("0.375"))
    assert "Cost per model and month" in chart.title


def test_pages_of_groups_keep_the_filters(browser: Client, send: Send) -> None:
    send(*(call("1", group_id=f"g-{number:02}", group_name="Same") for number in range(60)))
    query: dict[str, str] = {"model": text_of(GPT), "search": "same", "sort_by": "total_cost"}
    seen: list[str] = []
    result = context(browser, **query)
    assert result["paging"].text == "1 to 25 of 60"
    assert result["paging"].previous_url == ""
    while True:
        seen += [row.group_id for row in result["groups"].rows]
        if not result["paging"].next_url:
            break
        result = browser.get(result["paging"].next_url).context
    assert seen == sorted(seen)
    assert len(set(seen)) == 60
    assert result["paging"].text == "51 to 60 of 60"
    beyond = browser.get(PAGE, {**JANUARY, **query, "page": "7"})
    assert "This page does not exist" in beyond.content.decode()
    assert browser.get(beyond.context["paging"].last_url).context["paging"].text == "51 to 60 of 60"


@pytest.mark.usefixtures("january")
def test_costs_that_are_not_known_yet_are_reported(browser: Client, send: Send) -> None:
    assert "no price yet" not in browser.get(PAGE, JANUARY).content.decode()
    send({"model": "unknown", "input_tokens": 5, "occurred_at": "2025-01-03T00:00:00Z"})
    text = browser.get(PAGE, JANUARY).content.decode()
    assert "<strong>1 event</strong> in this period has no price yet" in text


@pytest.mark.usefixtures("january")
def test_the_numbers_refresh_automatically(browser: Client) -> None:
    part = browser.get(PAGE, JANUARY, headers={"HX-Request": "true"}).content.decode()
    assert "Group history" in part
    assert "<html" not in part
    assert "data-filters" in part  # the search of groups
    assert 'name="range"' not in part.replace('type="hidden" name="range"', "")


def test_without_usage_it_says_what_to_do(browser: Client, send: Send) -> None:
    assert "No usage yet" in browser.get(PAGE).content.decode()
    send(call("1"))
    text = browser.get(PAGE, {"start_date": "2025-03-01", "end_date": "2025-03-02"}).content.decode()
    assert "No usage in this period" in text
    assert "has usage from Jan 15, 2025 to Jan 15, 2025" in text
    text = browser.get(PAGE, {**JANUARY, "model": "nobody/nothing"}).content.decode()
    assert "No requests by these models and agents in this period" in text


BROKEN = (
    {"range": "nonsense"},
    {"range": "custom"},
    {"start_date": "2025-13-01"},
    {"start_date": "0001-01-01", "end_date": "9999-12-31"},
    {"start_date": "2025-02-01", "end_date": "2025-01-01"},
    {"end_date": "2025-01-01"},
    {"model": "\0"},
    {"model": "%00/x"},
    {"model": "/"},
    {"model": ""},
    {"model": "x" * 5000},
    {"agent": "a\0b"},
    {"search": "\0"},
    {"search": "%' OR 1=1 --"},
    {"search": "x" * 300},
    {"sort_by": "\0", "sort_order": "up"},
    {"page": "0"},
    {"page": "-1"},
    {"page": "9999999"},
    {"page": "99999999999999999999"},
    {"page": "\N{SUPERSCRIPT TWO}"},
    {"page": "x\0"},
)


@pytest.mark.usefixtures("january")
def test_no_filter_breaks_the_page(browser: Client) -> None:
    for query in BROKEN:
        assert browser.get(PAGE, query).status_code == 200, query
        assert browser.get(PAGE, {**JANUARY, **query}).status_code == 200, query


@pytest.mark.usefixtures("january")
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"start_date": "2025-13-01"}, "Enter a valid date."),
        ({"start_date": "2025-02-01", "end_date": "2025-01-01"}, "The end must be after the start."),
        ({"model": "\0"}, "Invalid value."),
    ],
)
def test_a_wrong_filter_is_reported_next_to_it(browser: Client, query: dict[str, str], message: str) -> None:
    assert message in browser.get(PAGE, query).content.decode()


def test_the_form_shows_the_period_that_is_meant(browser: Client) -> None:
    assert '<option value="30d" selected>' in browser.get(PAGE).content.decode()
    assert '<option value="custom" selected>' in browser.get(PAGE, JANUARY).content.decode()


# --- Who ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("january")
@pytest.mark.parametrize("who", ["owner", "viewer", "operator"])
def test_each_role_of_the_organization_sees_it(who: str, request: pytest.FixtureRequest, sign_in: SignIn) -> None:
    assert context(sign_in(request.getfixturevalue(who)))["figures"][0][1] == "$6.38"


@pytest.mark.usefixtures("january")
def test_others_do_not(stranger: User, sign_in: SignIn) -> None:
    assert sign_in(stranger).get(PAGE).status_code == 404
    assert Client().get(PAGE).status_code == 302
    assert context_of_globex(sign_in(stranger))["report"].first_day is None


def context_of_globex(browser: Client) -> Any:
    return browser.get("/o/globex/admin/pricing/", JANUARY).context


@pytest.mark.usefixtures("january")
def test_another_organizations_usage_is_not_in_it(
    browser: Client, other_organization: Organization, send: Send
) -> None:
    send(call("1000", group_id="g-1", group_name="Theirs", agent_id="ada"), to=other_organization)
    result = context(browser)
    assert result["figures"][0][1] == "$6.38"
    assert "Theirs" not in str([row.name for row in result["groups"].rows])


# --- Quick at any size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "query"),
    [
        ("owner", {}),
        ("operator", {}),
        ("owner", {"search": "same"}),
        ("owner", {"model": text_of(GPT), "sort_by": "total_cost"}),
    ],
)
@pytest.mark.parametrize("is_folded", [True, False])
def test_it_takes_the_same_few_queries_however_much_there_is(
    who: str,
    query: dict[str, str],
    request: pytest.FixtureRequest,
    organization: Organization,
    send: Send,
    sign_in: SignIn,
    *,
    is_folded: bool,
) -> None:
    browser = sign_in(request.getfixturevalue(who))

    def queries(first: int, last: int) -> int:
        send(
            *(
                call("1", group_id=f"g-{number}", group_name="Same", agent_id=f"a-{number}", session_id="s")
                for number in range(first, last)
            )
        )
        if is_folded:
            fold_organization(organization_id=organization.pk, now=NOW)
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(f"{PAGE}?{urlencode({**JANUARY, **query})}").status_code == 200
        return len(captured)

    queries(0, 1)
    few = queries(1, 2)
    assert queries(2, 200) == few <= 16
