"""The list and the pages of anomalies, and the marks in the chart of usage."""

from collections.abc import Iterator

import pytest
import time_machine
from django.test import Client

from billing.models import Anomaly
from billing.rollups.fold import fold
from organizations.models import AuditEntry, Organization, User
from tests.billing.admin.conftest import SignIn
from tests.billing.stored_anomalies import HOUR, make_anomaly
from tests.usage import NOW, Send

LIST = "/o/acme/admin/billing/anomaly/"
USAGE = "/o/acme/admin/usage/"


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def text(browser: Client, url: str) -> str:
    response = browser.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_the_list_and_the_page_of_an_anomaly(
    organization: Organization, other_organization: Organization, viewer: User, sign_in: SignIn
) -> None:
    browser = sign_in(viewer)
    assert "No unusual spend" in text(browser, LIST)
    anomaly = make_anomaly(organization, ("user", "ada"), ("team", "search"), at=NOW - HOUR)
    make_anomaly(other_organization, ("user", "mallory"), at=NOW - HOUR)
    page = text(browser, LIST)
    assert "User ada" in page
    assert "model gpt-5: $480.00" in page
    assert "mallory" not in page
    assert "User ada" not in text(browser, f"{LIST}?direction=drop")
    assert "User ada" in text(browser, f"{LIST}?state=open&scope=user")
    details = text(browser, f"{LIST}{anomaly.pk}/change/")
    assert "Team search" in details
    assert "up to $20.00" in details
    assert "user_id=ada" in details
    assert "Mark as expected" not in details


def test_an_owner_marks_an_anomaly_as_expected(organization: Organization, owner: User, sign_in: SignIn) -> None:
    browser = sign_in(owner)
    anomaly = make_anomaly(organization, ("user", "ada"), at=NOW - HOUR)
    details = text(browser, f"{LIST}{anomaly.pk}/change/")
    page = next(url for url in details.split('"') if url.startswith("/") and "expected" in url)
    assert "no longer marked in charts" in text(browser, page)
    browser.post(page)
    anomaly.refresh_from_db()
    assert (anomaly.dismissed_at, anomaly.dismissed_by) == (NOW, owner.email)
    assert AuditEntry.objects.get(action="anomaly.dismissed").subject == "user ada"
    browser.post(page)
    assert AuditEntry.objects.filter(action="anomaly.dismissed").count() == 1


def test_the_chart_marks_unusual_bars_and_says_what_they_are(
    organization: Organization, viewer: User, sign_in: SignIn, send: Send
) -> None:
    send({"user_id": "ada", "cost_usd": "500", "occurred_at": (NOW - 2 * HOUR).isoformat()})
    fold(now=NOW)
    anomaly = make_anomaly(organization, ("user", "ada"), ("team", "search"), at=NOW - 2 * HOUR)
    browser = sign_in(viewer)
    for query, marked in (
        ("range=today", True),
        ("range=7d", True),
        ("range=7d&user_id=ada", True),
        ("range=7d&user_id=bob", False),
        ("range=7d&tag=x", False),
        ("range=7d&view=requests", False),
        ("range=7d&cumulative=1", False),
        ("range=last_week", False),
    ):
        response = browser.get(f"{USAGE}?{query}")
        overlays = {overlay.role: overlay for overlay in response.context["usage"].chart.overlays}
        assert ("anomaly" in overlays) is marked, query
        assert ("view anomalies" in response.content.decode()) is marked, query
        if marked:
            texts = [found for found in overlays["anomaly"].texts if found]
            assert texts == ["user ada: $500.00, expected about $10.00"]
            assert [value for value in overlays["anomaly"].values if value] == [500.0]
    Anomaly.objects.filter(pk=anomaly.pk).update(dismissed_at=NOW)
    assert "view anomalies" not in text(browser, f"{USAGE}?range=7d")


def test_two_anomalies_of_a_bar_are_counted(
    organization: Organization, viewer: User, sign_in: SignIn, send: Send
) -> None:
    send({"user_id": "ada", "cost_usd": "900", "occurred_at": (NOW - 2 * HOUR).isoformat()})
    for name, spent in (("ada", "500"), ("bob", "400")):
        make_anomaly(organization, ("user", name), at=NOW - 2 * HOUR, spent=spent)
    page = text(sign_in(viewer), f"{USAGE}?range=today")
    assert "user ada: $500.00, expected about $10.00, and 1 more" in page
