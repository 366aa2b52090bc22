"""From the numbers of the usage page to what they are made of: days, hours, and calls one by one."""

from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils.html import escape
from rest_framework.test import APIClient

from costtrack.money import usd
from organizations.models import User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.dashboard.usage_month import call, get, get_json, monday_noon, month
from tests.billing.admin.tables import column, links
from tests.usage import Send

__all__ = ["monday_noon", "month"]  # fixtures from another module


@pytest.mark.parametrize("by", ["model", "capability", "credential", "status"])
@pytest.mark.usefixtures("month")
def test_the_bar_of_an_hour_leads_to_the_calls_of_its_color(by: str, owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    chart = get(browser, f"range=7d&group_by={by}&view=requests").context["usage"].chart
    assert len(chart.urls) == 7
    day = parse_qs(urlsplit(chart.urls[-1]).query)["start_date"][0]
    chart = get(browser, f"start_date={day}&end_date={day}&group_by={by}&view=requests").context["usage"].chart
    led = 0
    for line in chart.lines:
        if line.name.startswith("No ") and by in ("model", "capability"):
            assert list(line.urls) == list(chart.urls), "the log cannot be narrowed to it"
            continue
        for index, url in enumerate(line.urls):
            if line.values[index]:
                assert len(browser.get(url).context["table"].rows) == line.values[index], url
                led += 1
    assert led


@pytest.mark.parametrize(
    ("query", "by"),
    [("range=7d", "user"), ("range=7d&model=gpt-4o", "capability"), ("range=7d&status=success", "credential")],
)
@pytest.mark.usefixtures("month")
def test_rows_lead_to_their_calls(query: str, by: str, owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    table = get(browser, f"{query}&group_by={by}").context["breakdown"]
    for row in table.rows:
        assert bool(row.calls_url) == (not row.name.startswith("No ")) or row.name == "No credential"
    led = [
        (url, int(text)) for url, text in zip(links(table, "Requests"), column(table, "Requests"), strict=True) if url
    ]
    assert led
    for url, requests in led:
        assert len(browser.get(url).context["table"].rows) == requests, url


@pytest.mark.usefixtures("month")
def test_a_row_of_what_is_chosen_already_leads_to_its_calls(owner: User, sign_in: SignIn) -> None:
    (row,) = get(sign_in(owner), "range=7d&model=gpt-4o").context["breakdown"].rows
    assert row.url == row.calls_url == "/o/acme/admin/requests/?range=7d&model=gpt-4o"


@pytest.mark.usefixtures("month")
def test_the_most_expensive_day_is_named_and_leads_to_its_hours(owner: User, sign_in: SignIn, api: APIClient) -> None:
    browser = sign_in(owner)
    page = get(browser, "range=30d")
    peak = page.context["usage"].peak
    answer = get_json(api, "timeseries", "range=30d&view=cost&group_by=model")["series"]
    totals = [sum((Decimal(item["buckets"][index]["cost_usd"]) for item in answer), Decimal(0)) for index in range(30)]
    assert (peak.title, peak.cost) == ("Most expensive day", usd(max(totals)))
    assert peak.mostly.startswith(("mostly ", "led by "))
    assert f'<a class="ct-link" href="{escape(peak.url)}">{peak.name}</a>' in page.content.decode()
    day = get(browser, urlsplit(peak.url).query)
    assert day.context["figures"][0].value == peak.cost
    assert day.context["usage"].peak.title == "Most expensive hour"


def test_without_costs_nothing_is_the_most_expensive(owner: User, sign_in: SignIn, send: Send) -> None:
    send(call(1, "0"), call(30, "0"))
    for query in ("", "range=today", "group_by=none"):
        assert get(sign_in(owner), query).context["usage"].peak is None


@pytest.mark.parametrize("name", ["today", "yesterday"])
@pytest.mark.usefixtures("month")
def test_a_day_by_the_hour_is_one_click_away(name: str, owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    page = get(browser, "start_date=2026-10-30&end_date=2026-11-01&model=o3")
    day = browser.get(page.context[f"{name}_url"])
    assert day.context["period"].name == name.capitalize()
    assert len(day.context["usage"].chart.labels) == 24
    assert day.context["form"].cleaned_data["model"] == "o3"
