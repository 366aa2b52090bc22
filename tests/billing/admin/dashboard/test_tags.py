"""The page of tags: the numbers of `GET /spend/tags`, in the browser."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.http import urlencode
from rest_framework.test import APIClient

from billing.rollups.fold import fold_organization
from costtrack.money import number, usd
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.tables import column, links, texts
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")

PAGE = "/o/acme/admin/tags/"
JANUARY = {"start_date": "2025-01-01", "end_date": "2025-01-31"}


def call(cost: str, *tags: str, day: str = "15") -> dict[str, Any]:
    at = f"2025-01-{day}T12:00:00Z" if len(day) <= 2 else day
    return {"service": "openai", "model": "gpt-4o", "cost_usd": cost, "occurred_at": at, "tags": list(tags)}


@pytest.fixture
def january(send: Send) -> None:
    """Calls with no tag, one and two, and something beside the month."""
    send(
        call("0.5", "project:search", "env:staging", day="03"),
        call("1.25", "project:search", day="31"),
        call("0.000123", "Project: odd & <b>"),
        call("2", "env:prod"),
        call("4"),
        {"kind": "tool_call", "cost_usd": "0.25", "tags": ["tools"], "occurred_at": "2025-01-03T00:00:00Z"},
        call("64", "project:search", day="2024-12-31T23:59:59.999Z"),
        call("128", "env:prod", day="2025-02-01T00:00:00Z"),
    )


@pytest.fixture
def browser(owner: User, sign_in: SignIn) -> Client:
    return sign_in(owner)


def context(browser: Client, **query: Any) -> Any:
    response = browser.get(PAGE, {**JANUARY, **query})
    assert response.status_code == 200
    return response.context


def names(result: Any) -> list[str]:
    return column(result["tags"], "Tag")


def text(browser: Client, **query: Any) -> str:
    return str(browser.get(PAGE, {**JANUARY, **query}).content.decode())


# --- The API's numbers -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("january")
@pytest.mark.parametrize("is_folded", [True, False])
@pytest.mark.parametrize(
    "days",
    [
        JANUARY,
        {"start_date": "2025-01-03", "end_date": "2025-01-03"},
        {"start_date": "2024-12-31", "end_date": "2025-02-01"},
        {"start_date": "2000-01-01", "end_date": "2199-12-31"},
    ],
)
def test_tags_cost_what_the_api_says(
    browser: Client, api: APIClient, organization: Organization, days: dict[str, str], *, is_folded: bool
) -> None:
    if is_folded:
        fold_organization(organization_id=organization.pk, now=NOW)
    result = context(browser, **days)
    answer = api.get("/spend/tags", days).json()
    rows = texts(result["tags"])
    assert [(row["Tag"], row["Requests"]) for row in rows] == [
        (item["individual_request_tag"], str(item["log_count"])) for item in answer
    ]
    assert [number(tag.spend) for tag in result["report"].tags] == [item["total_spend"] for item in answer]
    assert [row["Cost"] for row in rows] == [usd(tag.spend) for tag in result["report"].tags]
    pricing = api.post("/system/pricing", days).json()["daily"]
    assert result["figures"][0][1] == usd(sum((Decimal(item["total_cost"]) for item in pricing), Decimal()))


@pytest.mark.usefixtures("january")
def test_shares_are_of_all_spend(browser: Client) -> None:
    result = context(browser)
    shares = {row["Tag"]: row["Share of all spend"] for row in texts(result["tags"])}
    # Of 8.000123 in all.
    assert shares == {
        "env:prod": "25.0%",
        "project:search": "21.9%",
        "env:staging": "6.2%",
        "tools": "3.1%",
        "Project: odd & <b>": "< 0.1%",
    }
    assert "so shares do not add up to 100%" in text(browser)


@pytest.mark.usefixtures("january")
def test_the_least_that_bears_no_tag_is_shown(browser: Client, send: Send) -> None:
    untagged = {label: value for label, value, _ in context(browser)["figures"]}["Without a tag"]
    assert untagged == "at least $3.50"  # 4, less the 0.5 that is counted twice
    send(call("100", "a", "b"))
    assert "Without a tag" not in [label for label, _, _ in context(browser)["figures"]]


@pytest.mark.usefixtures("january")
def test_the_chart_is_of_the_most_expensive_tags_and_not_stacked(browser: Client) -> None:
    chart = context(browser)["chart"]
    assert (chart.is_stacked, chart.kind, len(chart.labels)) == (False, "line", 31)
    days = {line.name: dict(zip(chart.labels, line.texts, strict=True)) for line in chart.lines}
    assert days["project:search"]["2025-01-03"] == "$0.50"
    assert days["project:search"]["2025-01-31"] == "$1.25"
    assert days["env:prod"]["2025-01-31"] == "$0.00"


def test_at_most_eight_tags_are_drawn(browser: Client, send: Send) -> None:
    send(*(call(str(cost), f"t-{cost}") for cost in range(1, 12)))
    assert [line.name for line in context(browser)["chart"].lines] == [f"t-{cost}" for cost in range(11, 3, -1)]


# --- The page --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("january")
def test_a_tag_leads_to_a_page_about_it_alone(browser: Client) -> None:
    tags = context(browser)["tags"]
    urls = dict(zip(column(tags, "Tag"), links(tags, "Tag"), strict=True))
    result = browser.get(urls["project:search"]).context
    assert [value for _, value, _ in result["figures"]] == ["$1.75", "21.9%", "2", "$0.875"]
    assert result["chart"].title == "Cost of project:search per day (UTC)"
    assert "tag=project%3Asearch" in result["log_url"]
    odd = browser.get(urls["Project: odd & <b>"])
    assert "<strong>Project: odd &amp; &lt;b&gt;</strong>" in odd.content.decode()
    assert next(value for _, value, _ in odd.context["figures"]) == "$0.000123"
    assert names(browser.get(odd.context["all_tags_url"]).context) == list(urls)


@pytest.mark.usefixtures("january")
def test_tags_are_searched_and_narrowed_by_their_kind(browser: Client) -> None:
    assert names(context(browser, search="PROJ")) == ["project:search", "Project: odd & <b>"]
    assert names(context(browser, kind="env")) == ["env:prod", "env:staging"]
    assert names(context(browser, kind="env", search="st")) == ["env:staging"]
    assert "No tag in this period matches" in text(browser, search="nothing")
    kinds = [value for value, _ in context(browser, kind="gone")["form"].fields["kind"].widget.choices]
    assert kinds == ["", "Project", "env", "gone", "project"]


@pytest.mark.usefixtures("january")
def test_a_tag_leads_to_its_calls(browser: Client) -> None:
    url = browser.get(PAGE, {"range": "7d", "tag": "env:prod"}).context["log_url"]
    assert url == "/o/acme/admin/requests/?range=7d&tag=env%3Aprod"
    assert browser.get(url).status_code == 200


@pytest.mark.usefixtures("january")
def test_a_tags_page_keeps_what_led_to_it(browser: Client) -> None:
    narrowed = browser.get(links(context(browser, kind="env", search="prod")["tags"], "Tag")[0])
    assert '<input type="hidden" name="kind" value="env"' in narrowed.content.decode()
    assert names(browser.get(narrowed.context["all_tags_url"]).context) == ["env:prod"]


@pytest.mark.usefixtures("january")
def test_tags_are_sorted_by_each_number_and_by_name(browser: Client) -> None:
    assert names(context(browser, sort_by="calls"))[0] == "project:search"
    assert names(context(browser, sort_by="name", sort_order="asc"))[0] == "Project: odd & <b>"
    assert names(context(browser, sort_order="asc"))[0] == "Project: odd & <b>"
    headings = context(browser)["tags"].headings
    url, direction = next((url, direction) for heading, url, direction in headings if heading.heading == "Cost")
    assert direction == "descending"
    assert names(browser.get(url).context)[0] == "Project: odd & <b>"


def test_thousands_of_tags_come_in_pages(browser: Client, send: Send) -> None:
    send(*(call("1", *(f"t:{number:04}" for number in range(start, start + 20))) for start in range(0, 2000, 20)))
    result = context(browser, search="t:")
    assert result["paging"].text == "1 to 50 of 2,000"
    seen = names(result)
    result = browser.get(result["paging"].next_url).context
    assert result["paging"].text == "51 to 100 of 2,000"
    assert not set(seen) & set(names(result))
    assert names(browser.get(result["paging"].last_url).context)[-1] == "t:1999"
    assert "This page does not exist" in text(browser, page=41)


def test_without_tags_it_says_what_to_do(browser: Client, send: Send) -> None:
    assert "No tags in this period" in text(browser)
    send(call("3"))
    assert "No tagged usage in this period" in text(browser)
    assert "$3.00 was spent without tags" in text(browser)
    assert "No spend with this tag" in text(browser, tag="nobody's")


@pytest.mark.usefixtures("january")
def test_costs_that_are_not_known_yet_are_reported(browser: Client, send: Send) -> None:
    assert "no price yet" not in text(browser)
    send({"model": "unknown", "input_tokens": 5, "tags": ["x"], "occurred_at": "2025-01-03T00:00:00Z"})
    assert "<strong>1 event</strong> in this period has no price yet" in text(browser)


@pytest.mark.parametrize(
    "query",
    [
        {"range": "nonsense"},
        {"start_date": "2025-13-01"},
        {"start_date": "0001-01-01", "end_date": "9999-12-31"},
        {"end_date": "2025-01-01"},
        {"kind": "\0"},
        {"kind": "x" * 500},
        {"search": "\0"},
        {"search": "x" * 500},
        {"tag": "\0"},
        {"tag": "x" * 5000},
        {"sort_by": "__class__", "sort_order": "\0"},
        {"page": "9999999"},
        {"page": "1e9"},
    ],
)
@pytest.mark.usefixtures("january")
def test_no_filter_breaks_the_page(browser: Client, query: dict[str, str]) -> None:
    assert browser.get(PAGE, query).status_code == 200
    assert browser.get(PAGE, {**JANUARY, **query}).status_code == 200


@pytest.mark.usefixtures("january")
def test_a_name_is_text_and_no_markup(browser: Client) -> None:
    page = text(browser)
    assert "Project: odd &amp; &lt;b&gt;" in page
    assert "odd & <b>" not in page


@pytest.mark.usefixtures("january")
def test_a_wrong_filter_is_reported_next_to_it(browser: Client) -> None:
    assert "Null characters are not allowed." in text(browser, search="\0")
    assert "at most 255 characters" in text(browser, search="x" * 300)


# --- Who, and how quick ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("january")
@pytest.mark.parametrize("who", ["owner", "viewer", "operator"])
def test_everybody_of_the_organization_sees_it(who: str, request: pytest.FixtureRequest, sign_in: SignIn) -> None:
    assert context(sign_in(request.getfixturevalue(who)))["figures"][0][1] == "$8.00"


@pytest.mark.usefixtures("january")
def test_others_do_not(stranger: User, sign_in: SignIn) -> None:
    assert sign_in(stranger).get(PAGE).status_code == 404
    assert Client().get(PAGE).status_code == 302


@pytest.mark.usefixtures("january")
def test_another_organizations_tags_are_not_in_it(
    browser: Client, other_organization: Organization, send: Send
) -> None:
    send(call("1000", "theirs", "env:prod"), to=other_organization)
    result = context(browser)
    assert result["figures"][0][1] == "$8.00"
    assert "theirs" not in names(result)
    assert context(browser, tag="theirs")["figures"] == []


@pytest.mark.parametrize("who", ["owner", "operator"])
@pytest.mark.parametrize("is_folded", [True, False])
@pytest.mark.parametrize("query", [{}, {"tag": "t:0"}, {"search": "t"}])
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
        send(*(call("1", f"t:{number}") for number in range(first, last)))
        if is_folded:
            fold_organization(organization_id=organization.pk, now=NOW)
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(f"{PAGE}?{urlencode({**JANUARY, **query})}").status_code == 200
        return len(captured)

    queries(0, 1)
    few = queries(1, 2)
    assert queries(2, 200) == few <= 14
