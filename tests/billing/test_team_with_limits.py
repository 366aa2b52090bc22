"""A team whose members have a limit each, as its owner sets it up: one person is over it, one call names no user, one
answer has a dated model name, and the provider refunds a part. The API, the pages and the emails say the same.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from billing.limits.enforce import enforce
from billing.limits.verify import verify_limits
from billing.notifications.emails import deliver_emails
from billing.rollups.fold import fold
from costtrack.clock import utc_now
from organizations.models import Organization, User
from organizations.types import Role
from tests.conftest import add_member
from tests.html import parse
from tests.usage import NOW, set_price

ADA, BRIN = "ada@acme.example", "brin@acme.example"

pytestmark = pytest.mark.usefixtures("key")


@pytest.fixture(autouse=True)
def _noon() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def call(api: APIClient, user_id: str, name: str, **changes: Any) -> int:
    """Authorize a call of 0.40 USD, and record it with the model's dated name. Return the status of the former."""
    request = {"service": "openai", "model": "gpt-4o", "team": "core", "user_id": user_id, "estimated_cost_usd": "0.4"}
    granted = api.post("/usage/authorizations", {**request, **changes})
    if granted.status_code == 201:
        tokens = {"input_tokens": 40_000, "output_tokens": 30_000}
        event = {"id": name, "authorization_id": granted.json()["id"], "model": "gpt-4o-2024-08-06", **tokens}
        assert api.post("/usage/events", event).json()["accepted"] == 1
    return granted.status_code


def notices(organization: Organization) -> list[tuple[str, str]]:
    """Fold, enforce and send; return who got which email."""
    now = utc_now()
    fold(now=now)
    enforce(organization=organization, now=now)
    mail.outbox.clear()
    deliver_emails(now=now + timedelta(seconds=1))
    return sorted((message.to[0], str(message.subject)) for message in mail.outbox)


def _to_both(owner: User, subject: str) -> list[tuple[str, str]]:
    return [(ADA, subject), (owner.email, subject)]


def page_text(user: User, path: str) -> str:
    client = Client()
    client.force_login(user)
    response = client.get(path)
    assert response.status_code == 200, path
    return parse(response.content.decode()).text


def test_api_pages_and_emails_say_the_same(api: APIClient, organization: Organization, owner: User) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")
    ada, brin = (add_member(organization, email, Role.MEMBER) for email in (ADA, BRIN))
    terms = {
        "scope": "user",
        "conditions": [{"scope": "team", "scope_value": "core"}],
        "window": "calendar_month",
        "amount_usd": "1",
        "missing": "refuse",
    }
    limit_id = api.post("/organizations/acme/limits", terms).json()["id"]
    limit_page = reverse("admin:billing_spendlimit_change", args=[limit_id])

    def state(user_id: str) -> dict[str, Any]:
        shown = api.get(f"/usage/limits?scope=user&scope_value={user_id}").json()["limits"]
        return next(row for limit in shown for row in limit.get("values", [limit]) if row["scope_value"] == user_id)

    # Each call costs 40,000 x 2.5 + 30,000 x 10 USD for a million tokens.
    assert [call(api, ADA, f"ada-{number}") for number in range(3)] == [201, 201, 429]
    assert call(api, BRIN, "brin-0") == 201
    assert call(api, "", "unnamed") == 422
    assert [state(user)["spent_usd"] for user in (ADA, BRIN)] == ["0.8", "0.4"]
    assert api.get("/usage/summary").json()["cost_usd"] == "1.2"
    assert [row["model"] for row in api.get("/usage/events").json()["results"]] == ["gpt-4o"] * 3
    assert notices(organization) == _to_both(owner, "Limit nearly reached: acme (80% of $1.00)")
    assert all("$0.80 of $1.00" in str(message.body) for message in mail.outbox)

    # A call that was made without an authorization is recorded, and puts ada over the limit.
    late = {"id": "ada-late", "kind": "compute", "cost_usd": "0.5", "user_id": ADA, "team": "core"}
    assert api.post("/usage/events", late).json()["accepted"] == 1
    assert notices(organization) == _to_both(owner, "Access paused: acme (130% of $1.00)")
    over = state(ADA)
    assert (over["state"], over["spent_usd"], over["percent"]) == ("paused", "1.3", 130)
    refused = api.post("/usage/authorizations", {"team": "core", "user_id": ADA, "estimated_cost_usd": "0.1"}).json()
    assert (refused["reason"], refused["spent_usd"]) == ("limit_reached", "1.3")
    assert all("$1.30" in text for text in (refused["error"], page_text(owner, limit_page)))
    assert "$1.30" in page_text(ada, "/o/acme/admin/my-usage/")
    assert "$1.30" not in page_text(brin, "/o/acme/admin/my-usage/")
    assert api.get(f"/usage/access?user_id={BRIN}&team=core").json()["allowed"]

    # The provider refunds a part of ada's usage.
    refund = {"amount_usd": "0.7", "reason": "Outage", "user_id": ADA, "team": "core", "model": "openai/GPT-4o"}
    assert api.post("/usage/credits", refund).status_code == 201
    assert notices(organization) == _to_both(owner, "Access restored: acme (60% of $1.00)")
    assert (state(ADA)["state"], state(ADA)["spent_usd"]) == ("ok", "0.6")
    assert call(api, ADA, "ada-again") == 201
    assert Decimal(api.get("/usage/summary").json()["cost_usd"]) == Decimal("1.4")
    assert "$1.00" in page_text(ada, "/o/acme/admin/my-usage/")
    assert verify_limits(organization=organization, now=utc_now()).differences == ()


def test_a_limit_of_0_is_paused_until_it_is_raised_on_pages_in_the_api_and_in_emails(
    api: APIClient, organization: Organization, owner: User
) -> None:
    terms = {"scope": "tag", "scope_value": "trial", "window": "calendar_day", "amount_usd": "0"}
    limit_id = api.post("/organizations/acme/limits", terms).json()["id"]

    assert notices(organization) == [(owner.email, "Access paused: acme (100% of $0.00)")]
    (email,) = mail.outbox
    assert "Access resumes when an owner or admin raises or resumes the limit." in " ".join(str(email.body).split())
    assert "automatically" not in str(email.body)
    (limit,) = api.get("/usage/limits").json()["limits"]
    assert (limit["state"], limit["resets_at"]) == ("paused", None)
    assert api.get(f"/organizations/acme/limits/{limit_id}/threshold-events").json()["results"][0]["resets_at"] is None
    shown = page_text(owner, reverse("admin:billing_spendlimit_change", args=[limit_id]))
    assert "Access is paused until the limit is raised." in shown
    assert "When the limit is raised" in page_text(owner, reverse("admin:billing_spendlimit_changelist"))
