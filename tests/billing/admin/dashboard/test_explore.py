"""The explorer: the numbers of `GET /usage/breakdown`, in the browser."""

import re
from collections.abc import Iterator
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.admin.components.formatting import count
from billing.reports.usage.figures import GroupBy
from billing.rollups.fold import fold
from costtrack.money import usd
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.dashboard.test_runs import text
from tests.billing.admin.tables import column, links, plain, texts
from tests.conftest import Key
from tests.usage import NOW, Send

PAGE = "/o/acme/admin/explore/"


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def call(number: int, **fields: Any) -> dict[str, Any]:
    at = f"2026-{('10-2' if number % 2 else '11-0')}{1 if number % 2 else 2}T0{number % 9}:00:00Z"
    return {"id": f"{number}", "service": "openai", "model": "gpt-4o", "cost_usd": "1", "occurred_at": at, **fields}


@pytest.fixture
def usage(send: Send, organization: Organization) -> None:
    organization.time_zone = "Pacific/Auckland"
    organization.save()
    send(
        *(
            call(
                number,
                cost_usd=f"0.{number + 1}",
                model=("gpt-4o", "o3", "claude-sonnet-4-5")[number % 3],
                user_id=("ada", "bob", "", "<script>")[number % 4],
                tags=[["a", "b"], ["a"], []][number % 3],
                input_tokens=100,
            )
            for number in range(12)
        ),
        {**call(20, model="house-13b", input_tokens=4, user_id="new"), "cost_usd": None},
    )
    fold(now=NOW)
    send(call(30, kind="tool_call", tool="search", model="", service=""))


@pytest.fixture
def browser(owner: User, sign_in: SignIn) -> Client:
    return sign_in(owner)


def get(browser: Client, query: str = "") -> Any:
    response = browser.get(f"{PAGE}?{query}")
    assert response.status_code == 200, response.content
    return response


def total(result: Any) -> list[str]:
    """The foot of the table, without its label."""
    return [plain(value) for value in result.context["table"].foot_cells[0]["values"]]


@pytest.mark.parametrize(
    ("query", "of_api"),
    [
        ("", "range=month&group_by=model"),
        ("range=30d&group_by=user&sort_by=requests", ""),
        ("range=30d&group_by=tag&then_by=model", "range=30d&group_by=tag,model"),
        ("range=30d&group_by=user&model=o3&sort_by=name&sort_order=asc", ""),
        ("range=month&group_by=tool&search=sea", ""),
        (
            "range=7d&group_by=model&compare=on&sort_by=change_usd",
            "range=7d&group_by=model&compare=true&sort_by=change_usd",
        ),
    ],
)
@pytest.mark.usefixtures("usage")
def test_the_rows_and_the_total_are_those_of_the_api(query: str, of_api: str, browser: Client, api: APIClient) -> None:
    page, answer = get(browser, query), api.get(f"/usage/breakdown?{of_api or query}").json()
    rows = texts(page.context["table"])
    assert [(row["Requests"], row["Tokens"].replace("-", "0")) for row in rows] == [
        (count(row["requests"]), count(row["total_tokens"])) for row in answer["results"]
    ]
    known = [(row["Cost"], answer) for row, answer in zip(rows, answer["results"], strict=True)]
    for shown, row in known:
        assert shown == ("No price yet" if row["unpriced_events"] else usd(Decimal(row["cost_usd"])))
    summary = api.get(f"/usage/summary?{of_api or query}".replace("group_by", "x-group_by")).json()
    assert Decimal(summary["cost_usd"]) == Decimal(answer["total"]["cost_usd"])
    figures = {figure.name: figure for figure in page.context["figures"]}
    assert figures["Cost"].value == usd(Decimal(summary["cost_usd"]))
    assert total(page)[0].startswith(usd(Decimal(summary["cost_usd"])))


@pytest.mark.usefixtures("usage")
def test_periods_are_columns_and_a_chart(browser: Client, api: APIClient) -> None:
    page = get(browser, "range=30d&group_by=model&columns=week&sort_by=p1")
    answer = api.get("/usage/breakdown?range=30d&group_by=model&granularity=week").json()
    headings = [column.heading for column in page.context["table"].columns]
    assert headings[:2] == ["Model", "Total cost"]
    assert len(headings) == 2 + len(answer["total"]["periods"]) == 7
    for index, period in enumerate(answer["total"]["periods"]):
        assert total(page)[1 + index].startswith(usd(Decimal(period["cost_usd"])) if period["cost_usd"] != "0" else "")
    chart = page.context["chart"]
    assert chart.is_stacked
    assert len(chart.labels) == 5
    assert {line.name for line in chart.lines} == {"gpt-4o", "o3", "claude-sonnet-4-5", "house-13b", "No model"}
    tags = get(browser, "range=30d&group_by=tag&columns=week").context
    assert not tags["chart"].is_stacked
    assert "counts it once" in tags["table"].note
    requests = get(browser, "range=30d&columns=day&measure=requests").context["table"]
    assert requests.columns[1].heading == "Total requests"


@pytest.mark.usefixtures("usage")
def test_a_name_leads_to_its_usage_and_a_number_to_its_calls(browser: Client) -> None:
    table = get(browser, "range=30d&group_by=user").context["table"]
    by_name = dict(zip(column(table, "User"), links(table, "User"), strict=True))
    assert by_name["No user"] == ""
    inner = browser.get(by_name["<script>"])
    assert column(inner.context["table"], "Model") == ["o3", "gpt-4o", "claude-sonnet-4-5"]
    assert b"<script>\n" not in inner.content
    assert inner.context["filters"][0][:2] == ("User", "<script>")
    assert browser.get(inner.context["filters"][0][2]).context["filters"] == []
    calls = dict(zip(column(table, "User"), links(table, "Requests"), strict=True))
    assert {call.user_ref for call in browser.get(calls["ada"]).context["listed"].calls} == {"ada"}


@pytest.mark.usefixtures("usage")
def test_every_row_is_reached_by_pages(browser: Client, send: Send) -> None:
    send(*(call(number, user_id=f"user-{number:03}") for number in range(100, 230, 2)))
    page = get(browser, "group_by=user")
    seen = column(page.context["table"], "User")
    assert len(seen) == 50
    page = browser.get(PAGE + page.context["older"])
    seen += column(page.context["table"], "User")
    assert len(seen) == len(set(seen)) == int(page.context["rows_total"])
    assert not page.context["older"]
    (url,) = re.findall(
        r'href="([^"]*/explore/[^"]*)"[^>]*>[^<]*Others', text(browser, "/o/acme/admin/usage/?group_by=user")
    )
    assert browser.get(unescape(url)).context["form"].by == (GroupBy.USER,)


@pytest.mark.usefixtures("usage")
def test_unit_costs_are_shown_on_request(browser: Client) -> None:
    rows = texts(get(browser, "range=30d&group_by=model&include_users=on").context["table"])
    gpt = next(row for row in rows if row["Model"] == "gpt-4o")
    assert (gpt["Users"], gpt["Cost per user"]) == ("3", "$0.433")


@pytest.mark.parametrize(
    "query",
    [
        "group_by=color&then_by=x&columns=decade&measure=money",
        "group_by=user&then_by=user",
        "sort_by=p99&columns=day",
        "sort_by=period",
        "sort_by=__class__&sort_order=%00",
        "search=%00",
        "user_id=%00&status=maybe",
        f"model={'x' * 300}",
        "start_date=0001-01-01&end_date=9999-12-31",
        "compare=maybe",
    ],
)
@pytest.mark.usefixtures("usage")
def test_no_parameter_breaks_the_page(query: str, browser: Client) -> None:
    get(browser, query)


@pytest.mark.usefixtures("usage")
def test_what_is_too_much_is_refused_in_words(browser: Client) -> None:
    for query, message in (
        ("range=90d&columns=hour", "columns"),
        ("after=x", "Invalid cursor"),
    ):
        response = browser.get(f"{PAGE}?{query}")
        assert response.status_code == 422
        assert message in response.content.decode()


@pytest.mark.usefixtures("usage")
def test_empty_periods_say_what_to_do(browser: Client) -> None:
    assert get(browser, "range=yesterday&model=none").context["empty"].title.startswith("No usage with these filters")
    assert get(browser, "start_date=2026-10-25&end_date=2026-10-26").context["empty"].title == "No usage in this period"
    assert "Show all rows" in get(browser, "search=nothing").content.decode()


@pytest.mark.usefixtures("usage")
def test_the_address_of_tags_leads_here(browser: Client) -> None:
    response = browser.get("/o/acme/admin/tags/?range=7d&kind=env")
    assert response.status_code == 302
    assert response["Location"] == f"{PAGE}?group_by=tag&columns=day&range=7d&search=env%3A"
    assert browser.get(response["Location"]).status_code == 200


@pytest.mark.usefixtures("usage")
def test_others_do_not_see_it(stranger: User, viewer: User, sign_in: SignIn, key: Key) -> None:
    assert sign_in(viewer).get(PAGE).status_code == 200
    assert sign_in(stranger).get(PAGE).status_code == 404
    assert Client().get(PAGE).status_code == 302


@pytest.mark.usefixtures("usage")
def test_the_number_of_queries_does_not_depend_on_the_rows(browser: Client, send: Send) -> None:
    fold(now=NOW)
    get(browser, "group_by=user")
    with CaptureQueriesContext(connection) as few:
        get(browser, "group_by=user")
    send(*(call(number, user_id=f"user-{number}") for number in range(100, 140)))
    fold(now=NOW)
    with CaptureQueriesContext(connection) as many:
        get(browser, "group_by=user")
    assert len(many) <= len(few)


@pytest.mark.usefixtures("usage", "whole_history")
def test_all_rows_are_files(browser: Client) -> None:
    page = get(browser, "range=30d&group_by=user&then_by=tag&search=a&sort_by=name&sort_order=asc")
    for label, url in page.context["files"].links:
        response: Any = browser.get(url)
        assert response["Content-Disposition"].startswith('attachment; filename="usage-breakdown-user-tag-acme-2026-')
        assert response["Content-Disposition"].endswith(f'.{label.lower()}"')
        assert b"ada" in b"".join(response.streaming_content)
    with_periods: Any = browser.get(f"{PAGE}file/?range=30d&columns=week&group_by=credential")
    lines = b"".join(with_periods.streaming_content).decode("utf-8-sig").splitlines()
    assert lines[0].startswith("credential,credential_name,start_date,end_date,requests,")
    assert lines[1].startswith(",,2026-10-19,2026-10-25,")


@pytest.mark.usefixtures("usage")
def test_a_plan_without_exports_says_so(browser: Client) -> None:
    page = get(browser)
    assert not page.context["files"].links
    assert page.context["files"].refused in page.content.decode()
    assert browser.get(f"{PAGE}file/").status_code == 403
