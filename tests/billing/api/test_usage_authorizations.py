"""`/usage/authorizations`: what is granted, what is refused for want of money, and how an authorization ends."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from billing.api.usage import authorizations
from billing.models import Authorization, UsageEvent
from billing.pricing import price_book as price_books
from billing.types import LimitAction, LimitScope, LimitWindow
from costtrack.clock import iso
from organizations.models import Organization
from tests.conftest import Key
from tests.limits import set_limit, take
from tests.usage import NOW, Send, set_price

URL = "/usage/authorizations"
CALL = {
    "service": "openai",
    "model": "gpt-4o",
    "user_id": "ada",
    "workflow_id": "nightly",
    "run_id": "nightly-7",
    "session_id": "s-1",
    "tags": ["team:core", "env:test"],
}


@pytest.fixture(autouse=True)
def _price(db: None) -> None:
    set_price("gpt-4o", input="2.5", output="10")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the clock of the endpoint."""

    def _at(now: datetime) -> None:
        monkeypatch.setattr(authorizations, "utc_now", lambda: now)

    _at(NOW)
    return _at


At = Callable[[datetime], None]


def ask(api: APIClient, **body: Any) -> Any:
    return api.post(URL, {"estimated_cost_usd": "0.25", **body})


# --- Granted ---------------------------------------------------------------------------------------------------


def test_a_call_that_no_limit_covers_is_granted(api: APIClient, key: Key, at: At) -> None:
    response = ask(api, **CALL)

    assert response.status_code == 201, response.content
    authorization = Authorization.objects.get()
    assert response.json() == {
        "id": str(authorization.id),
        "status": "reserved",
        "reserved_usd": "0.25",
        "created_at": iso(NOW),
        "expires_at": iso(NOW + timedelta(minutes=10)),
        "limits": [],
    }
    assert authorization.credential == key.credential
    assert (authorization.service, authorization.model, authorization.user_ref) == ("openai", "gpt-4o", "ada")
    assert (authorization.workflow_id, authorization.run_id) == ("nightly", "nightly-7")
    assert (authorization.session_id, authorization.tags) == ("s-1", ["team:core", "env:test"])


def test_the_answer_says_what_is_left_of_each_limit(api: APIClient, organization: Organization, key: Key) -> None:
    whole = set_limit(organization, "10")
    users = set_limit(organization, "1", LimitScope.USER, window=LimitWindow.CALENDAR_DAY)
    own = set_limit(organization, "5", LimitScope.CREDENTIAL, key.credential.client_id)
    notify_only = set_limit(organization, "0.1", LimitScope.TAG, "team:core", action=LimitAction.NOTIFY)
    set_limit(organization, "0", LimitScope.USER, "brin")

    ask(api, **CALL)
    left = ask(api, **CALL).json()["limits"]

    assert left == [
        {
            "id": whole.pk,
            "scope": "organization",
            "scope_value": "",
            "window": "lifetime",
            "amount_usd": "10",
            "remaining_usd": "9.5",
        },
        {
            "id": users.pk,
            "scope": "user",
            "scope_value": "ada",
            "window": "calendar_day",
            "amount_usd": "1",
            "remaining_usd": "0.5",
        },
        {
            "id": own.pk,
            "scope": "credential",
            "scope_value": key.credential.client_id,
            "window": "lifetime",
            "amount_usd": "5",
            "remaining_usd": "4.5",
        },
        {
            "id": notify_only.pk,
            "scope": "tag",
            "scope_value": "team:core",
            "window": "lifetime",
            "amount_usd": "0.1",
            "remaining_usd": "0",
        },
    ]


def test_exactly_what_is_left_is_granted_and_no_more(api: APIClient, organization: Organization) -> None:
    set_limit(organization, "1")
    assert ask(api, estimated_cost_usd="0.999999999999999999999999").status_code == 201
    assert ask(api, estimated_cost_usd="0.000000000000000000000002").status_code == 429
    assert ask(api, estimated_cost_usd="0.000000000000000000000001").status_code == 201
    # What costs nothing fits as long as the limit is not reached by spend.
    assert ask(api, estimated_cost_usd=0).status_code == 201


def test_the_time_to_live_is_the_callers(api: APIClient, at: At) -> None:
    assert ask(api, ttl_seconds=30).json()["expires_at"] == iso(NOW + timedelta(seconds=30))


def test_tags_count_once_each(api: APIClient, organization: Organization) -> None:
    set_limit(organization, "1", LimitScope.TAG)
    response = ask(api, tags=["a", "", "a", "b"])
    assert [left["remaining_usd"] for left in response.json()["limits"]] == ["0.75", "0.75"]
    assert Authorization.objects.get().tags == ["a", "b"]


def test_tokens_are_reserved_at_their_price(api: APIClient) -> None:
    body = {"model": "gpt-4o", "input_tokens": 1_000_000, "max_tokens": 100_000}
    assert api.post(URL, body).json()["reserved_usd"] == "3.5"
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 0}
    assert api.post(URL, body).json()["reserved_usd"] == "0.00002"


@pytest.mark.django_db(transaction=True)
def test_it_takes_one_message_to_the_database(
    api: APIClient,
    organization: Organization,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The check of the credential and the grant itself."""
    monkeypatch.setattr(price_books, "RECENT_SECONDS", 60)
    set_limit(organization, "10")
    bodies: tuple[dict[str, Any], ...] = (CALL, {})
    for body in bodies:
        for _ in range(2):  # what is asked once in a minute, or once for each version of a credential
            ask(api, **body)
        with django_assert_num_queries(1):
            ask(api, **body)


# --- Refused for want of money ---------------------------------------------------------------------------------


def test_a_limit_that_is_used_up_says_which_how_much_and_until_when(
    api: APIClient, organization: Organization, send: Send, at: At
) -> None:
    at(NOW)
    limit = set_limit(organization, "1", LimitScope.USER, "ada", LimitWindow.CALENDAR_DAY)
    send({"user_id": "ada", "cost_usd": "0.5"})
    take(organization, "0.375", now=NOW, user_ref="ada")

    response = ask(api, user_id="ada")

    assert response.status_code == 429
    body = response.json()
    in_ten_minutes = NOW + timedelta(minutes=10)
    assert body.pop("error").startswith("The daily limit of user ada has $0.125 left, and the call may cost $0.25")
    assert body == {
        "code": "spend_limit_exceeded",
        "reason": "reserved_by_others",
        "limit": {
            "id": limit.pk,
            "scope": "user",
            "scope_value": "ada",
            "window": "calendar_day",
            "amount_usd": "1",
            "action": "pause",
        },
        "spent_usd": "0.5",
        "reserved_usd": "0.375",
        "remaining_usd": "0.125",
        "requested_usd": "0.25",
        "currency": "USD",
        "window_start": "2026-11-02T00:00:00Z",
        "window_end": "2026-11-03T00:00:00Z",
        "time_zone": "UTC",
        "resets_at": iso(in_ten_minutes),  # when the other one expires
        "retry_after": 1,  # when it may well have ended
        "as_of": iso(NOW),
        "request_increase": "/organizations/acme/limit-requests",
    }
    assert response["Retry-After"] == "1"
    assert response["X-RateLimit-Reset"] == str(int(in_ten_minutes.timestamp()))
    assert response["x-should-retry"] == "true"
    assert response["Cache-Control"] == "no-store"
    assert Authorization.objects.count() == 1, "who is refused holds nothing"


def test_spent_and_reserved_money_have_different_reasons(
    api: APIClient, organization: Organization, send: Send, at: At
) -> None:
    at(NOW)
    set_limit(organization, "1", window=LimitWindow.ROLLING_7D)
    send({"cost_usd": "0.8"})
    take(organization, "0.15", now=NOW)

    def refused(usd: str) -> tuple[str, str, bool]:
        response = ask(api, estimated_cost_usd=usd)
        body = response.json()
        assert response["Retry-After"] == str(body["retry_after"])
        return body["reason"], response["x-should-retry"], body["retry_after"] == 1

    assert refused("0.2") == ("reserved_by_others", "true", True)
    assert refused("0.21") == ("not_enough_left", "false", False)
    send({"cost_usd": "0.2"})
    assert refused("0.01") == ("limit_reached", "false", False)


def test_a_limit_with_too_much_spent_comes_before_one_with_too_much_reserved(
    api: APIClient, organization: Organization, send: Send, at: At
) -> None:
    at(NOW)
    set_limit(organization, "1", LimitScope.USER, "ada", LimitWindow.CALENDAR_MONTH)
    set_limit(organization, "2", window=LimitWindow.LIFETIME)
    set_limit(organization, "1", LimitScope.RUN, "r", LimitWindow.ROLLING_7D)
    send({"cost_usd": "1", "user_id": "brin", "run_id": "r"})
    take(organization, "0.9", user_ref="ada", ttl=timedelta(days=9), now=NOW)

    answer = ask(api, user_id="ada", run_id="r").json()

    assert (answer["limit"]["scope"], answer["reason"]) == ("run", "limit_reached")
    assert ask(api, user_id="ada").json()["reason"] == "reserved_by_others"


def test_what_is_not_in_sight_has_no_reset(api: APIClient, organization: Organization, send: Send) -> None:
    set_limit(organization, "1")
    send({"cost_usd": "1"})
    response = ask(api)
    assert (response.status_code, response.json()["reason"]) == (429, "limit_reached")
    assert response.json()["resets_at"] is response.json()["retry_after"] is None
    assert "Retry-After" not in response
    assert response["x-should-retry"] == "false"


def test_all_limits_or_none(api: APIClient, organization: Organization) -> None:
    set_limit(organization, "10")
    set_limit(organization, "0.1", LimitScope.RUN)
    assert ask(api, run_id="r").status_code == 429
    assert ask(api).json()["limits"][0]["remaining_usd"] == "9.75", "nothing is held of the first limit"


def test_a_limit_that_only_notifies_refuses_nothing(api: APIClient, organization: Organization, send: Send) -> None:
    set_limit(organization, "1", action=LimitAction.NOTIFY)
    send({"cost_usd": "5"})
    response = ask(api)
    assert (response.status_code, response.json()["limits"][0]["remaining_usd"]) == (201, "0")


# --- The life of an authorization ------------------------------------------------------------------------------


def test_the_event_that_names_it_settles_it(api: APIClient, organization: Organization) -> None:
    set_limit(organization, "1")
    authorization = ask(api, **CALL).json()
    event = {"id": "e-1", "authorization_id": authorization["id"], "cost_usd": "0.125"}

    assert api.post("/usage/events", event).status_code == 200

    result = api.get(f"{URL}/{authorization['id']}").json()
    assert (result["status"], result["reserved_usd"], result["settled_usd"]) == ("settled", "0.25", "0.125")
    assert result["ended_at"] is not None
    assert ask(api).json()["limits"][0]["remaining_usd"] == "0.625"
    assert api.post("/usage/events", event).json()["duplicates"] == 1
    assert api.get(f"{URL}/{authorization['id']}").json() == result


@pytest.mark.parametrize("unknown", ["6af3c99d-e720-4095-a4b9-dc8e1d20e5fb", str(UUID(int=0))])
def test_an_event_with_an_unknown_authorization_is_stored_all_the_same(api: APIClient, unknown: str) -> None:
    response = api.post("/usage/events", {"authorization_id": unknown, "cost_usd": "0.5"})
    assert response.json()["accepted"] == 1
    assert UsageEvent.objects.get().cost_usd == Decimal("0.5")


def test_another_organizations_authorization_is_not_settled(
    api: APIClient, other_organization: Organization, organization: Organization
) -> None:
    theirs = take(other_organization, "1").authorization
    assert api.post("/usage/events", {"authorization_id": str(theirs.pk), "cost_usd": "1"}).json()["accepted"] == 1
    theirs.refresh_from_db()
    assert (theirs.status, theirs.settled_usd) == ("reserved", None)


def test_released_it_holds_nothing_any_more(api: APIClient, organization: Organization) -> None:
    set_limit(organization, "0.25")
    url = f"{URL}/{ask(api).json()['id']}"
    assert ask(api).status_code == 429

    for _ in range(2):
        response = api.delete(url)
        assert (response.status_code, response.content) == (204, b"")

    assert api.get(url).json()["status"] == "released"
    assert ask(api).status_code == 201


def test_what_is_settled_cannot_be_released_or_extended(api: APIClient, organization: Organization, send: Send) -> None:
    url = f"{URL}/{ask(api).json()['id']}"
    send({"authorization_id": url.rpartition("/")[2], "cost_usd": "0.125"})

    for response in (api.delete(url), api.patch(url, {"ttl_seconds": 60})):
        assert (response.status_code, response.json()["code"]) == (409, "authorization_ended")
    assert api.get(url).json()["status"] == "settled"


def test_a_late_event_settles_what_was_released(api: APIClient, organization: Organization, send: Send) -> None:
    url = f"{URL}/{ask(api).json()['id']}"
    api.delete(url)
    send({"authorization_id": url.rpartition("/")[2], "cost_usd": "0.125"})
    result = api.get(url).json()
    assert (result["status"], result["settled_usd"]) == ("settled", "0.125")


def test_extended_it_holds_from_now_on(api: APIClient, organization: Organization, at: At) -> None:
    set_limit(organization, "0.25")
    url = f"{URL}/{ask(api, ttl_seconds=60).json()['id']}"

    at(NOW + timedelta(seconds=59))
    with CaptureQueriesContext(connection) as queries:
        response = api.patch(url, {"ttl_seconds": 3600})
    (extending,) = [query["sql"] for query in queries if "pg_advisory_xact_lock" in query["sql"]]
    assert "SET LOCAL lock_timeout = '5s'" in extending  # a request that waits for longer gets a 503
    assert response.status_code == 200
    assert response.json()["expires_at"] == iso(NOW + timedelta(seconds=3659))

    at(NOW + timedelta(seconds=3658))
    assert ask(api).status_code == 429
    at(NOW + timedelta(seconds=3659))
    assert ask(api).status_code == 201


def test_what_has_expired_holds_nothing_and_cannot_be_extended(
    api: APIClient, organization: Organization, at: At
) -> None:
    set_limit(organization, "0.25")
    url = f"{URL}/{ask(api, ttl_seconds=60).json()['id']}"

    at(NOW + timedelta(seconds=60))
    assert api.get(url).json()["status"] == "expired", "also before a task has marked it"
    response = api.patch(url, {"ttl_seconds": 60})
    assert (response.status_code, response.json()["code"]) == (409, "authorization_ended")
    assert ask(api).status_code == 201


# --- Sent again ------------------------------------------------------------------------------------------------


def test_the_same_key_answers_the_same_authorization(api: APIClient, organization: Organization) -> None:
    set_limit(organization, "0.25")
    first = api.post(URL, {"estimated_cost_usd": "0.25"}, headers={"Idempotency-Key": "call-1"})
    again = ask(api, idempotency_key="call-1")

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {**first.json(), "limits": []}
    assert Authorization.objects.get().idempotency_key == "call-1"


def test_after_it_has_ended_the_key_answers_how(api: APIClient) -> None:
    first = ask(api, idempotency_key="k").json()
    api.delete(f"{URL}/{first['id']}")
    again = ask(api, idempotency_key="k")
    assert (again.status_code, again.json()["id"], again.json()["status"]) == (200, first["id"], "released")


@pytest.mark.parametrize("change", [{"user_id": "brin"}, {"estimated_cost_usd": "0.3"}, {"ttl_seconds": 5}])
def test_the_key_of_another_payload_is_refused(api: APIClient, change: dict[str, Any]) -> None:
    ask(api, idempotency_key="k")
    response = ask(api, idempotency_key="k", **change)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert "idempotency_key" in response.json()["fields"]


def test_each_organization_has_keys_of_its_own(api: APIClient, other_api: APIClient) -> None:
    assert ask(api, idempotency_key="k").status_code == ask(other_api, idempotency_key="k").status_code == 201
