"""Calls that cost nothing are not refused because of spend."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.limits.services import pause_limit
from billing.models import Authorization
from billing.types import LimitScope, LimitWindow
from costtrack.clock import utc_now
from organizations.models import Organization, User
from organizations.principals import Principal
from tests.limits import set_limit, take
from tests.usage import Send, set_price

URL = "/usage/authorizations"
FREE = {"service": "own", "model": "llama", "input_tokens": 100, "max_tokens": 100}


@pytest.fixture(autouse=True)
def _prices(organization: Organization) -> None:
    set_price("llama", provider="own", input="0", output="0", organization=organization)
    set_price("gpt-4o", provider="openai", input="2.5", output="10")


@pytest.fixture
def _reached(organization: Organization, send: Send) -> None:
    """Limits of every kind that are used up, beyond their amount."""
    for window in LimitWindow:
        set_limit(organization, "1", window=window)
    set_limit(organization, "1", LimitScope.MODEL)
    send({"kind": "compute", "cost_usd": "1.5"}, {"service": "own", "model": "llama", "cost_usd": "1"}, now=utc_now())


@pytest.mark.usefixtures("_reached")
@pytest.mark.parametrize(
    "body", [FREE, {"service": "own", "model": "llama", "estimated_cost_usd": "0"}, {**FREE, "estimated_cost_usd": 0}]
)
def test_a_free_model_is_granted_under_limits_that_are_reached(api: APIClient, key: Any, body: Any) -> None:
    response = api.post(URL, body)

    assert response.status_code == 201, response.content
    assert response.json()["reserved_usd"] == "0"
    assert {limit["remaining_usd"] for limit in response.json()["limits"]} == {"0"}


@pytest.mark.usefixtures("_reached")
@pytest.mark.parametrize(
    "body",
    [
        {"service": "openai", "model": "gpt-4o", "estimated_cost_usd": "0"},
        {"service": "openai", "model": "gpt-4o", "input_tokens": 0, "max_tokens": 0},
        {"service": "own", "model": "llama", "estimated_cost_usd": "0.01"},
        {"estimated_cost_usd": "0"},
    ],
)
def test_an_estimate_of_zero_does_not_make_a_call_free(api: APIClient, key: Any, body: Any) -> None:
    assert api.post(URL, body).json()["reason"] == "limit_reached"
    assert not Authorization.objects.exists()


@pytest.mark.usefixtures("_reached")
def test_access_says_which_models_are_free(api: APIClient, key: Any) -> None:
    def access(query: str) -> Any:
        answer = api.get(f"/usage/access?{query}").json()
        return answer["allowed"], answer.get("free")

    assert access("service=own&model=llama") == (True, True)
    assert access("service=own&model=llama&estimated_cost_usd=0") == (True, True)
    assert access("service=own&model=llama&estimated_cost_usd=0.1") == (False, None)
    assert access("model=gpt-4o") == (False, None)
    assert access("") == (False, None)


def test_reservations_do_not_refuse_a_free_call_either(api: APIClient, key: Any, organization: Organization) -> None:
    set_limit(organization, "1")
    take(organization, "1")
    assert api.post(URL, FREE).status_code == 201


def test_a_manual_pause_refuses_free_calls(api: APIClient, key: Any, organization: Organization, owner: User) -> None:
    limit = set_limit(organization, "1")
    now = utc_now()
    pause_limit(
        organization=organization,
        limit=limit,
        value="",
        reason="Maintenance.",
        ends_at=now + timedelta(hours=1),
        actor=Principal(user=owner),
        now=now,
    )
    response = api.post(URL, FREE)

    assert (response.status_code, response.json()["reason"]) == (429, "paused_by_hand")
    assert response.json()["limit"]["action"] == "pause"
    assert not api.get("/usage/access?service=own&model=llama").json()["allowed"]
    assert api.post(URL, FREE).json()["retry_after"] == pytest.approx(3600, abs=60)


def test_the_words_of_a_manual_pause_say_what_ends_it(
    api: APIClient, key: Any, organization: Organization, owner: User
) -> None:
    limit = set_limit(organization, "1")
    about: dict[str, Any] = {"organization": organization, "limit": limit, "value": "", "now": utc_now()}
    pause_limit(**about, reason="Maintenance", ends_at=None, actor=Principal(user=owner))

    refused = api.post(URL, FREE).json()

    assert refused["error"] == (
        "The limit of the organization is paused manually: Maintenance. An increase does not end a manual pause: an "
        "owner, an admin or the operator must resume the limit."
    )
    assert refused["request_increase"] is None
    assert api.get("/usage/access").json()["request_increase"] is None
