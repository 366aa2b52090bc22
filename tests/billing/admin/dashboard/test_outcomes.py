"""The outcomes page shows the figures of the API."""

import html

from django.test import Client
from rest_framework.test import APIClient

from organizations.models import User
from tests.billing.admin.conftest import SignIn

PATH = "/o/acme/admin/outcomes/"


def page(browser: Client, query: str = "") -> str:
    response = browser.get(f"{PATH}?{query}")
    assert response.status_code == 200
    return " ".join(html.unescape(response.content.decode()).split())


def test_the_page_explains_how_to_begin_and_then_shows_costs_and_outcomes(
    sign_in: SignIn, viewer: User, api: APIClient, other_api: APIClient
) -> None:
    browser = sign_in(viewer)
    assert "No outcomes in this period" in page(browser)
    for client, usd in ((api, "2"), (other_api, "777")):
        client.post("/usage/events", {"kind": "compute", "cost_usd": usd, "run_id": "r<1>", "workflow_id": "tickets"})
        client.post("/usage/outcomes", {"run_id": "r<1>", "name": "resolved", "success": True, "value_usd": "9.5"})
    text = page(browser, "group_by=workflow")
    for shown in (
        "Cost per success",
        "$2.00",
        "1 success, 100% of 1 finished runs",
        "Worth $9.50",
        "tickets",
        "resolved",
    ):
        assert shown in text
    assert "777" not in text
    assert "r<1>" in text
    assert "No usage in this period" not in text
    assert "$2.00" in page(browser, "group_by=agent&outcome=resolved")
    assert "No outcomes in this period." in page(browser, "outcome=other")
    assert "Select a valid choice" in page(browser, "group_by=tag")
