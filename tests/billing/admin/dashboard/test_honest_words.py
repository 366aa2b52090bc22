"""Words of pages beside their numbers: singular and plural, what filters apply to, and what is not shown."""

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from billing.admin.components import formatting
from billing.models import PriceVersion
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn
from tests.limits import set_limit
from tests.usage import Send

PAGES = "/o/acme/admin/"


@pytest.fixture
def browser(owner: User, sign_in: SignIn) -> Client:
    return sign_in(owner)


def text(browser: Client, page: str) -> str:
    response = browser.get(f"{PAGES}{page}")
    assert response.status_code == 200, response.content[:500]
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", response.content.decode())).split())


def source(browser: Client, page: str) -> str:
    return html.unescape(browser.get(f"{PAGES}{page}").content.decode())


def test_one_request_is_not_one_requests(browser: Client, send: Send) -> None:
    assert [formatting.counted(number, "request") for number in (0, 1, 1200)] == [
        *("0 requests", "1 request", "1,200 requests"),
    ]
    send({"id": "1", "model": "gpt-4o", "cost_usd": "1"}, now=utc_now())
    for page in ("usage/", "explore/", "statements/?month=" + utc_now().strftime("%Y-%m")):
        shown = source(browser, page)
        assert "1 requests" not in shown, page
        assert "1 request" in shown, page


def test_an_unknown_period_is_named_and_the_default_is_selected(browser: Client, send: Send) -> None:
    send({"id": "1", "model": "gpt-4o", "cost_usd": "1"}, now=utc_now())
    shown = source(browser, "usage/?range=fortnight")
    assert "Unknown period. Last 30 days is shown instead." in shown
    assert '<option value="30d" selected>Last 30 days</option>' in shown


def test_a_filtered_page_says_that_limits_include_all_usage(
    browser: Client, send: Send, organization: Organization
) -> None:
    set_limit(organization, "5")
    send({"id": "1", "model": "gpt-4o", "cost_usd": "1"}, now=utc_now())
    filtered = text(browser, "usage/?model=unused")
    assert "Filtered by model. Limits include all usage." in filtered
    assert "All usage:" in filtered
    assert "Limits include all usage" not in text(browser, "usage/")


def test_the_sum_of_all_others_leads_to_all_of_them(browser: Client, send: Send) -> None:
    now = utc_now()
    send(*({"id": str(n), "model": "gpt-4o", "user_id": f"user-{n}", "cost_usd": "1"} for n in range(30)), now=now)
    shown = source(browser, "usage/?group_by=user")
    (url,) = set(re.findall(r'href="([^"]*/explore/[^"]*group_by=user[^"]*)"[^>]*>Others<', shown))
    assert f"user-{29}" in source(browser, url.removeprefix(PAGES) + "&sort_by=name&search=user-29")


def test_two_versions_of_a_price_on_one_day_have_their_times(organization: Organization) -> None:
    organization.time_zone = "Pacific/Auckland"
    first = datetime(2026, 11, 1, 20, 0, tzinfo=UTC)
    earlier = PriceVersion(organization=organization, effective_from=first, effective_to=first + timedelta(hours=3))
    later = PriceVersion(organization=organization, effective_from=first + timedelta(hours=3))
    assert formatting.price_until(earlier) == formatting.price_since(later)
    assert formatting.price_since(earlier) != formatting.price_since(later)
    assert formatting.price_since(earlier).startswith("Nov 2, 2026, 9:00")
