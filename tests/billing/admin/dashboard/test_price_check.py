"""The page of the price check: the numbers of `GET /usage/price-check`, in the browser."""

import csv
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.reports.price_check import selection
from costtrack.money import usd
from organizations.models import Organization, Plan, User
from tests.billing.admin.conftest import SignIn
from tests.billing.admin.tables import column, links, plain, texts
from tests.usage import Send, set_price

PAGE = "/o/acme/admin/price-check/"
CALL = {"service": "openai", "model": "gpt-4o", "input_tokens": 1_000_000}


@pytest.fixture(autouse=True)
def _price(db: None) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10", cache_read="1.25")


@pytest.fixture
def browser(owner: User, sign_in: SignIn) -> Client:
    return sign_in(owner)


def context(browser: Client, **query: Any) -> Any:
    response = browser.get(PAGE, query)
    assert response.status_code == 200
    return response.context


def text(browser: Client, **query: Any) -> str:
    return plain(browser.get(PAGE, query).content.decode())


def test_spend_by_exactness(browser: Client, api: APIClient, send: Send, other_organization: Organization) -> None:
    send(CALL, {**CALL, "cost_usd": "3"}, {**CALL, "model": "<b>new</b>"}, {**CALL, "cache_creation_tokens": 400_000})
    send({**CALL, "model": "secret-model"}, to=other_organization)
    result = context(browser)
    assert [(row["Model"], row["Reported"], row["Computed"], row["Unknown"]) for row in texts(result["models"])] == [
        ("gpt-4o openai", "$3.00 1 call", "$2.50 1 call", "-"),
        ("<b>new</b> openai", "-", "-", "1 call"),
    ]
    assert links(result["models"], "Unknown")[1].endswith("/unpricedevent/?model=%3Cb%3Enew%3C%2Fb%3E")
    models = api.get("/usage/price-check").json()["models"]
    assert [row["Cost"] for row in texts(result["models"])] == [usd(Decimal(model["cost_usd"])) for model in models]
    assert {figure.name: figure.value for figure in result["figures"]} == {
        "Reported": "$3.00",
        "Computed": "$2.50",
        "Estimated": "$3.50",
        "Unknown": "1 call",
    }
    assert "secret-model" not in text(browser)


def test_calls_that_differ_show_both_sides(browser: Client, send: Send, other_organization: Organization) -> None:
    send({**CALL, "cache_read_tokens": 200_000, "cost_usd": "3"}, {**CALL, "cost_usd": "2.5"})
    send({**CALL, "cost_usd": "9"}, to=other_organization)
    result = context(browser)
    (row,) = texts(result["differing"].table)
    assert (row["Calls that differ"], row["Difference"]) == ("1 of 2", "+$0.25")
    (call,) = result["calls"]
    assert (call.cause, call.detail) == (
        "Cached tokens are charged differently",
        "Cache reads are charged as uncached input.",
    )
    assert column(call.table, "Charged for") == ["Input", "Cache read"]
    assert call.difference == "+$0.25 (+9.1%)"
    assert "$9.00" not in text(browser)


def test_a_larger_percentage_hides_small_differences(browser: Client, send: Send) -> None:
    send({**CALL, "cost_usd": "2.6"})
    assert len(context(browser)["calls"]) == 1
    assert context(browser, percent="5")["calls"] == []
    assert "No call differs." in text(browser, percent="5")


def test_a_model_leads_to_its_calls_alone(browser: Client, send: Send) -> None:
    send({**CALL, "cost_usd": "3"}, {**CALL, "model": "other", "cost_usd": "1"})
    first, _ = links(context(browser)["models"], "Model")
    result = browser.get(first).context
    assert column(result["models"], "Model") == ["gpt-4o openai"]


def test_calls_are_paged_to_the_end(browser: Client, send: Send) -> None:
    send(*({**CALL, "id": f"call-{number}", "cost_usd": "3"} for number in range(45)))
    seen, query = [], ""
    while True:
        result = browser.get(f"{PAGE}{query}").context
        seen += [call.url for call in result["calls"]]
        query = result["older"]
        if not query:
            break
    assert len(seen) == len(set(seen)) == 45


def test_without_calls_the_page_says_what_to_do_next(browser: Client, send: Send) -> None:
    assert context(browser)["empty"].links[0][0] == "Send the first event"
    send(CALL)
    assert context(browser, model="nothing")["empty"].title == "No matching calls"


def test_a_period_with_too_many_calls_is_explained(
    browser: Client, send: Send, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    Plan.objects.filter(pk=organization.plan_id).update(exports=True)
    send({**CALL, "cost_usd": "3"}, CALL)
    url = context(browser)["files"].links[0][1]
    monkeypatch.setattr(selection, "MAX_CALLS", 1)
    assert context(browser)["empty"].title == "Too many calls in this period"
    assert browser.get(url).status_code in (400, 422)


def test_invalid_filters_are_explained(browser: Client) -> None:
    assert context(browser, percent="much")["empty"].title == "These filters are invalid"
    assert "Enter a number." in text(browser, percent="much")


def test_the_calls_that_differ_are_exported(browser: Client, send: Send, organization: Organization) -> None:
    send({**CALL, "id": "=1+1", "cost_usd": "3"}, CALL)
    plans = Plan.objects.filter(pk=organization.plan_id)
    plans.update(exports=True)
    url = context(browser, percent="5")["files"].links[0][1]
    response = browser.get(url)
    assert response["Content-Disposition"].startswith('attachment; filename="usage-price-check-acme-')
    rows = list(csv.DictReader(StringIO(response.getvalue().decode("utf-8-sig"))))
    assert [(line["event_id"], line["difference_usd"], line["cause"]) for line in rows] == [("'=1+1", "0.5", "markup")]
    plans.update(exports=False)
    assert context(browser)["files"].refused.startswith("The ")
    assert browser.get(url).status_code == 403


def test_a_viewer_sees_the_same(viewer: User, sign_in: SignIn, send: Send) -> None:
    send({**CALL, "cost_usd": "3"})
    assert len(context(sign_in(viewer))["calls"]) == 1


def test_flagged_calls_lead_to_their_events(browser: Client, send: Send) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 0, "mystery_tokens": 3}
    send({"id": "flagged", "service": "openai", "model": "gpt-4o", "usage": usage}, {**CALL, "id": "clean"})
    (url,) = links(context(browser)["models"], "Flagged")
    listed = browser.get(url).context["cl"].result_list
    assert [event.event_id for event in listed] == ["flagged"]
    assert len(browser.get(url.replace("any", "unread_usage")).context["cl"].result_list) == 1
    assert len(browser.get(url.replace("any", "two_readings")).context["cl"].result_list) == 0
