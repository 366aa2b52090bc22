"""`GET /usage/own`: a credential sees what it has spent, and its limits."""

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.test import Client
from rest_framework.test import APIClient

from billing.types import LimitScope, LimitWindow
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import Key, make_key
from tests.limits import set_limit
from tests.usage import NOW

URL = "/usage/own"


@pytest.fixture(autouse=True)
def _monday_noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def gateway(organization: Organization) -> Key:
    """It only sends usage."""
    return make_key(organization, Scope.USAGE_WRITE, name="gateway")


def spend(key: Key, *amounts: tuple[str, str]) -> None:
    events = [{"cost_usd": usd, "occurred_at": at} for usd, at in amounts]
    assert key.client().post("/usage/events", events, format="json").json()["accepted"] == len(events)


def test_it_reports_the_credential_alone(organization: Organization, gateway: Key, key: Key) -> None:
    organization.time_zone = "America/New_York"
    organization.save()
    spend(
        gateway,
        ("1", "2026-11-02T11:00:00Z"),
        ("2", "2026-11-02T04:59:00Z"),  # before midnight there
        ("4", "2026-10-31T12:00:00Z"),
        ("8", "2026-10-26T12:00:00Z"),  # exactly seven days ago
    )
    spend(key, ("100", "2026-11-02T11:00:00Z"))
    of_each = set_limit(organization, "10", LimitScope.CREDENTIAL, window=LimitWindow.LIFETIME)

    answer = gateway.client().get(URL).json()

    (limit,) = answer.pop("limits")
    assert answer == {
        "organization": "acme",
        "plan": "pay_as_you_go",
        "currency": "USD",
        "timezone": "America/New_York",
        "week_start": 1,
        "as_of": "2026-11-02T12:00:00Z",
        "client_id": gateway.credential.client_id,
        "name": "gateway",
        "environment": "production",
        "spend": {
            "today_usd": "1",
            "rolling_7d_usd": "7",
            "month_to_date_usd": "3",
            "billing_period": {"start": "2026-11-01T00:00:00-04:00", "end": "2026-12-01T00:00:00-05:00"},
        },
    }
    assert (limit["id"], limit["scope_value"]) == (of_each.pk, gateway.credential.client_id)
    assert (limit["spent_usd"], limit["state"]) == ("15", "paused")


def test_its_limits_are_those_that_cover_it(organization: Organization, gateway: Key, key: Key) -> None:
    whole = set_limit(organization, "10")
    own = set_limit(organization, "10", LimitScope.CREDENTIAL, gateway.credential.client_id)
    each = set_limit(organization, "10", LimitScope.CREDENTIAL)
    set_limit(organization, "10", LimitScope.CREDENTIAL, key.credential.client_id)
    set_limit(organization, "10", LimitScope.USER)
    result: list[dict[str, Any]] = gateway.client().get(URL).json()["limits"]
    assert [limit["id"] for limit in result] == [whole.pk, own.pk, each.pk]


def test_it_is_for_credentials_and_members(owner: User, operator_api: APIClient) -> None:
    browser = Client()
    browser.force_login(owner)
    assert browser.get(URL).json()["user_ids"] == [owner.email]
    response = operator_api.get(f"{URL}?organization=acme")
    assert (response.status_code, response.json()["code"]) == (422, "not_a_credential")
    assert "credentials" in response.json()["error"]
