"""The lists of what an organization has arranged, walked by their filters, beside what the API says of them."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from organizations.models import User
from tests.browser.history import MOMENT
from tests.browser.plain_pages import PlainPage
from tests.browser.walks import answer, dollars, follow, listed, narrow, narrow_to, search, start

pytestmark = pytest.mark.usefixtures("arrangements")

ACME = "/organizations/acme"
STATES = {"pending": "pending", "sent": "sent", "failed": "failed"}

Item = dict[str, Any]


def every(api: APIClient, name: str, **query: str) -> list[Item]:
    found = answer(api, f"{ACME}/{name}", **query, page_size=100)
    assert found["next"] is None
    results: list[Item] = found["results"]
    return results


def test_people_and_credentials_are_those_of_the_api(operator: User, api: APIClient) -> None:
    page = PlainPage(operator)
    start(page)
    follow(page, "Members")
    assert_members(page, every(api, "members"))
    narrow_to(page, "Viewer")
    assert_members(page, every(api, "members", role="viewer"))
    search(page, "viewer-2")
    assert_members(page, every(api, "members", email="viewer-2@acme.example"))

    follow(page, "Credentials")
    assert_credentials(page, every(api, "credentials"))
    narrow_to(page, "Development")
    assert_credentials(page, every(api, "credentials", environment="development"))
    search(page, "lapt")
    assert_credentials(page, [item for item in every(api, "credentials") if item["name"] == "Laptop"])

    follow(page, "Audit log")
    assert_entries(page, every(api, "audit"))
    search(page, "price.created")
    assert_entries(page, every(api, "audit", action="price.created"))


def test_prices_webhooks_and_deliveries_are_those_of_the_api(owner: User, api: APIClient) -> None:
    page = PlainPage(owner)
    start(page)
    prices = every(api, "prices")
    follow(page, "Prices")
    assert_prices(page, prices)
    narrow(page, owner="everyone", provider="openai")
    assert_prices(page, [item for item in every(api, "prices", provider="openai") if not item["is_own"]])
    narrow(page, owner="", provider="", holds="now")
    assert_prices(page, every(api, "prices", active_at=MOMENT.isoformat()))
    narrow(page, owner="own", holds="ended")
    assert_prices(page, [item for item in prices if item["is_own"] and item["effective_to"]])
    narrow(page, owner="", holds="")
    search(page, "14b")
    assert_prices(page, [item for item in prices if "14b" in item["model"]])

    follow(page, "Webhooks")
    webhooks = every(api, "webhooks")
    assert_webhooks(page, webhooks)

    follow(page, "Deliveries")
    assert_deliveries(page, every(api, "deliveries"))
    narrow(page, state="failed", webhook=str(webhooks[0]["id"]))
    assert_deliveries(page, every(api, "deliveries", state="failed", webhook=str(webhooks[0]["id"])))
    narrow(page, state="", webhook="", channel="email", kind="limit.paused")
    assert_deliveries(page, every(api, "deliveries", channel="email", kind="limit.paused"))


# --- The lists beside the answers ------------------------------------------------------------------------------


def assert_members(page: PlainPage, expected: list[Item]) -> None:
    assert expected
    assert [(row["User"], row["Role"].casefold()) for row in listed(page)] == [
        (item["email"], item["role"]) for item in expected
    ]


def assert_credentials(page: PlainPage, expected: list[Item]) -> None:
    assert expected
    assert [
        (
            row["Client ID"],
            row["Name"],
            row["Environment"].casefold(),
            row["State"].casefold(),
            row["Last used"] != "-",
        )
        for row in listed(page)
    ] == [
        (
            item["client_id"],
            item["name"],
            item["environment"],
            "revoked" if item["revoked_at"] else "active",
            item["last_used_at"] is not None,
        )
        for item in expected
    ]


def assert_entries(page: PlainPage, expected: list[Item]) -> None:
    assert expected
    assert [(row["Actor"], row["Action"], row["Subject"]) for row in listed(page)] == [
        (item["actor"], item["action"], item["subject"]) for item in expected
    ]


def assert_prices(page: PlainPage, expected: list[Item]) -> None:
    """Whatever their order."""
    assert expected

    def per_million(amount: str | None) -> str:
        return "-" if amount is None else dollars(amount)

    assert sorted(
        (row["Model"], row["Provider"], row["Owner"] != "Everyone", row["Input / million"], row["Output / million"])
        for row in listed(page)
    ) == sorted(
        (
            item["model"],
            item["provider"],
            item["is_own"],
            per_million(item["input_usd_per_million"]),
            per_million(item["output_usd_per_million"]),
        )
        for item in expected
    )


def assert_webhooks(page: PlainPage, expected: list[Item]) -> None:
    assert expected
    shown = [(row["Webhook"], row["Notified about"], row["State"].casefold() == "enabled") for row in listed(page)]
    assert shown == [
        (
            f"{item['description'] or 'Webhook'}\n{item['url']}",
            "Access paused" if item["kinds"] else "Everything",
            item["enabled"],
        )
        for item in expected
    ]


def assert_deliveries(page: PlainPage, expected: list[Item]) -> None:
    assert expected
    assert [
        (row["Notice"].partition("\n")[0], row["To"].partition("\n")[0], row["State"].casefold(), row["Attempts"])
        for row in listed(page)
    ] == [
        (item["subject"], item["recipient"], STATES[item["state"]], str(item["attempts"] or "-")) for item in expected
    ]
