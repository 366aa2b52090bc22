"""The page of commitments: added, shown with the figures of the API, and ended."""

import html
import re
from datetime import timedelta
from typing import Any

from rest_framework.test import APIClient

from billing.models import Commitment
from billing.reports.months import this_month
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.billing.admin.conftest import SignIn

PATH, FORM = "/o/acme/admin/commitments/", "/o/acme/admin/commitments/commitment/"


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", response.content.decode())).split())


def test_a_commitment_is_added_shown_and_ended(
    sign_in: SignIn, owner: User, viewer: User, api: APIClient, organization: Organization
) -> None:
    browser, month = sign_in(owner), this_month(organization, utc_now())
    assert "No commitments yet" in text_of(browser.get(PATH))
    api.post("/usage/events", {"service": "anthropic", "model": "claude", "cost_usd": "12", "input_tokens": 1_000_000})
    api.post("/usage/events", {"kind": "compute", "cost_usd": "5"})
    terms = {"name": "Seats", "kind": "subscription", "amount_usd": "0.0001", "period": "day", "starts": str(month)}
    assert "Name the usage" in text_of(browser.post(FORM, terms))
    added = browser.post(FORM, {**terms, "model": "claude", "tokens_per_minute": ""}, follow=True)
    shown = text_of(added)
    for part in ("Commitment added", "Seats", "$0.0001 per day", "model claude", "100.0%", "$12.00", "$5.00"):
        assert part in shown
    row = Commitment.objects.get()
    day = str(month - timedelta(days=1))
    assert "New commitment" not in text_of(browser.get(f"{FORM}?id={row.pk}"))
    ended = text_of(browser.post(f"{FORM}?id={row.pk}", {"ends": day}, follow=True))
    assert "No commitment in this month." in ended
    assert f"{month - timedelta(days=1):%Y}" in ended

    reader = sign_in(viewer)
    assert "New commitment" not in text_of(reader.get(PATH))
    assert reader.get(FORM).status_code == reader.post(FORM, terms).status_code == 403
