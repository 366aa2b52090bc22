"""`GET /usage/access`: the cheap yes or no."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.limits.services import pause_limit
from billing.types import LimitAction, LimitScope, LimitWindow
from organizations.models import Organization, User
from organizations.principals import Principal
from organizations.types import Scope
from tests.conftest import make_key
from tests.limits import set_limit, take
from tests.usage import NOW, Send, set_price

DAY = timedelta(days=1)
YES = {"allowed": True, "as_of": "2026-11-02T12:00:00Z"}


@pytest.fixture(autouse=True)
def _monday_noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def ask(api: Client | APIClient, query: str = "") -> dict[str, Any]:
    response = api.get(f"/usage/access?{query}")
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store"), response.content
    answer: dict[str, Any] = response.json()
    return answer


def call(usd: str, **fields: Any) -> dict[str, Any]:
    return {"cost_usd": usd, "occurred_at": (NOW - DAY).isoformat(), **fields}


def test_without_limits_everything_goes_ahead(api: APIClient, viewer: User) -> None:
    browser = Client()
    browser.force_login(viewer)
    assert ask(api) == ask(browser) == ask(api, "model=gpt-4o&tags=a&tags=b&estimated_cost_usd=1000000") == YES


def test_a_no_is_what_an_authorization_would_be_refused_with(
    organization: Organization, api: APIClient, send: Send
) -> None:
    limit = set_limit(organization, "50", LimitScope.USER, window=LimitWindow.ROLLING_7D)
    send(call("50.02", user_id="ada"))

    answer = ask(api, "user_id=ada")

    assert answer == {
        "allowed": False,
        "error": "The weekly limit of user ada is reached: $50.02 of $50.00 are spent. "
        "Access is back Sunday, 08 November 2026, at 12:00:00 (UTC).",
        "code": "spend_limit_exceeded",
        "reason": "limit_reached",
        "limit": {
            "id": limit.pk,
            "scope": "user",
            "scope_value": "ada",
            "window": "rolling_7d",
            "amount_usd": "50",
            "action": "pause",
        },
        "spent_usd": "50.02",
        "reserved_usd": "0",
        "remaining_usd": "0",
        "requested_usd": "0",
        "currency": "USD",
        "window_start": "2026-10-26T12:00:00.000001Z",
        "window_end": None,
        "time_zone": "UTC",
        "resets_at": "2026-11-08T12:00:00Z",
        "retry_after": 6 * 86_400,
        "as_of": "2026-11-02T12:00:00Z",
        "request_increase": "/organizations/acme/limit-requests",
    }
    refused = api.post("/usage/authorizations", {"user_id": "ada", "estimated_cost_usd": "0"}, format="json")
    assert (refused.status_code, {"allowed": False, **refused.json()}) == (429, answer)
    assert ask(api, "user_id=brin") == ask(api) == YES
    with time_machine.travel(NOW + 6 * DAY, tick=False):
        assert ask(api, "user_id=ada")["allowed"] is True


@pytest.mark.parametrize(
    ("scope", "value", "query"),
    [
        (LimitScope.MODEL, "gpt-4o", "model=gpt-4o"),
        (LimitScope.USER, "ada", "user_id=ada"),
        (LimitScope.WORKFLOW, "nightly", "workflow_id=nightly"),
        (LimitScope.RUN, "nightly-7", "run_id=nightly-7"),
        (LimitScope.SESSION, "chat-1", "session_id=chat-1"),
        (LimitScope.TAG, "team:core", "tags=other&tags=team:core"),
    ],
)
def test_a_call_is_covered_by_what_it_names(
    organization: Organization, api: APIClient, send: Send, scope: LimitScope, value: str, query: str
) -> None:
    set_price("gpt-4o", input="1", output="1")
    set_limit(organization, "10", scope, value)
    field = {"tag": "tags", "user": "user_id", "model": "model"}.get(scope.value, f"{scope.value}_id")
    send(call("10", **{field: [value] if scope is LimitScope.TAG else value}))
    assert ask(api, query)["limit"]["scope_value"] == value
    assert ask(api) == YES
    assert ask(api, query.replace(value, "another")) == YES


def test_the_credential_is_the_one_that_asks(organization: Organization, api: APIClient) -> None:
    set_limit(organization, "10", LimitScope.CREDENTIAL)
    assert api.post("/usage/events", [call("10")], format="json").status_code == 200
    assert ask(api)["limit"]["scope"] == "credential"
    assert ask(make_key(organization).client()) == YES


def test_an_estimate_must_fit(organization: Organization, api: APIClient, send: Send) -> None:
    set_limit(organization, "10")
    send(call("6"))
    take(organization, "1.5", now=NOW, ttl=timedelta(minutes=5))
    assert ask(api, "estimated_cost_usd=2.5") == YES
    answer = ask(api, "estimated_cost_usd=2.500000000000000000000001")
    assert (answer["allowed"], answer["reason"]) == (False, "reserved_by_others")
    assert (answer["reserved_usd"], answer["remaining_usd"]) == ("1.5", "2.5")
    assert (answer["resets_at"], answer["retry_after"]) == ("2026-11-02T12:05:00Z", 1)
    never = ask(api, "estimated_cost_usd=5")
    assert never["reason"] == "not_enough_left"
    assert (never["resets_at"], never["retry_after"]) == (None, None)
    assert ask(api) == YES


def test_of_several_limits_the_one_that_lasts_longest_is_named(
    organization: Organization, api: APIClient, send: Send
) -> None:
    for window in (LimitWindow.ROLLING_7D, LimitWindow.CALENDAR_MONTH, LimitWindow.CALENDAR_DAY):
        set_limit(organization, "10", window=window)
    set_limit(organization, "1", action=LimitAction.NOTIFY.value)
    send({"cost_usd": "10", "occurred_at": NOW.isoformat()})
    answer = ask(api)
    assert (answer["limit"]["window"], answer["resets_at"]) == ("calendar_month", "2026-12-01T00:00:00Z")


def test_a_pause_by_hand_is_a_no_with_its_reason(organization: Organization, api: APIClient, owner: User) -> None:
    limit = set_limit(organization, "10", action=LimitAction.NOTIFY.value)
    actor = Principal(user=owner)
    about: dict[str, Any] = {"organization": organization, "limit": limit, "value": "", "actor": actor, "now": NOW}
    pause_limit(**about, reason="Runaway agent", ends_at=NOW + DAY)
    answer = ask(api)
    assert (answer["reason"], answer["resets_at"]) == ("paused_by_hand", "2026-11-03T12:00:00Z")
    assert "Runaway agent" in answer["error"]


def test_a_model_without_a_price_is_a_no_under_a_limit_that_pauses(organization: Organization, api: APIClient) -> None:
    assert ask(api, "model=house") == YES
    limit = set_limit(organization, "10", LimitScope.USER, "ada")
    answer = ask(api, "model=house&user_id=ada")
    assert answer.pop("error").startswith("model: house has no price")
    assert answer == {
        "allowed": False,
        "code": "model_not_priced",
        "reason": "model_not_priced",
        "as_of": "2026-11-02T12:00:00Z",
    }
    assert ask(api, "model=house&user_id=brin") == YES
    limit.fallback_price = Decimal(5)
    limit.save()
    set_limit(organization, "10", LimitScope.USER, "cleo")  # which announces the change
    assert ask(api, "model=house&user_id=ada") == YES


def test_every_scope_may_ask_and_it_takes_few_statements(organization: Organization, send: Send) -> None:
    for number in range(5):
        set_limit(organization, "10", LimitScope.USER)
        set_limit(organization, "10", LimitScope.TAG, f"tag-{number}")
    send(call("1", user_id="ada", tags=["tag-1"]))
    for scopes in ((), (Scope.USAGE_WRITE,), (Scope.LIMITS_AUTHORIZE,)):
        client = make_key(organization, *scopes).client()
        for _ in range(2):  # the first request also notes that the credential was used
            ask(client, "user_id=ada&tags=tag-1")
        with CaptureQueriesContext(connection) as captured:
            assert ask(client, "user_id=ada&tags=tag-1&tags=tag-2") == YES
        statements = [
            query["sql"] for query in captured if not query["sql"].startswith(("SAVEPOINT", "RELEASE", "SET"))
        ]
        # The credential, the limits' revision, whether something waits to be folded, and what was spent.
        assert len(statements) <= 4, statements
