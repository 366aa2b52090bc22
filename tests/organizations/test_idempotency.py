"""`Idempotency-Key`: whatever a `POST` writes, it writes once for a key."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.models import SpendLimit, UsageEvent
from costtrack.clock import utc_now
from organizations.idempotency import RETENTION, delete_old_idempotency_keys
from organizations.models import APICredential, AuditEntry, IdempotencyKey, Organization
from organizations.types import Scope
from tests.conftest import Key, make_key

pytestmark = pytest.mark.django_db

LIMITS = "/organizations/acme/limits"
LIMIT = {"scope": "user", "scope_value": "ada", "window": "calendar_week", "amount_usd": "20"}
CREDENTIALS = "/organizations/acme/credentials"
CREDENTIAL = {"name": "gateway", "scopes": ["usage:write"]}
EVENTS = "/usage/events"
CALL = {"service": "openai", "model": "gpt-4o", "input_tokens": 5, "output_tokens": 5, "cost_usd": "1"}


def post(api: APIClient, path: str, body: Any, key: str = "key-1", **options: Any) -> Any:
    return api.post(path, body, headers={"Idempotency-Key": key}, **options)


# --- Requests that write in their transaction ----------------------------------------------------------------------


def test_a_repeated_request_gets_the_first_response_and_writes_nothing(api: APIClient, key: Key) -> None:
    first, second = (post(api, LIMITS, LIMIT) for _ in range(2))

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert SpendLimit.objects.count() == 1
    assert AuditEntry.objects.filter(action="limit.created").count() == 1


def test_white_space_and_order_of_a_body_do_not_matter(api: APIClient, key: Key) -> None:
    text = '{ "amount_usd":"20", "window":"calendar_week",\n"scope_value":"ada", "scope":"user"}'
    first = post(api, LIMITS, LIMIT)
    second = api.generic("POST", LIMITS, text, "application/json", headers={"Idempotency-Key": "key-1"})

    assert second.json() == first.json()


@pytest.mark.parametrize(
    ("path", "body"), [(LIMITS, {**LIMIT, "amount_usd": "21"}), (CREDENTIALS, CREDENTIAL), (EVENTS, CALL)]
)
def test_a_key_is_for_one_request(api: APIClient, key: Key, path: str, body: Any) -> None:
    post(api, LIMITS, LIMIT)
    response = post(api, path, body)

    assert response.status_code == 422
    assert response.json()["code"] == "idempotency_key_reused"
    assert SpendLimit.objects.count() == 1
    assert not UsageEvent.objects.exists()


def test_a_secret_that_is_shown_once_is_shown_again_to_a_retry_and_is_not_in_the_database(
    api: APIClient, key: Key
) -> None:
    first, second = (post(api, CREDENTIALS, CREDENTIAL) for _ in range(2))

    assert second.json()["api_key"] == first.json()["api_key"]
    assert second.headers["Cache-Control"] == "no-store"
    assert APICredential.objects.filter(name="gateway").count() == 1
    assert first.json()["client_secret"] not in IdempotencyKey.objects.get().response


def test_a_refused_request_leaves_its_key_free(api: APIClient, key: Key) -> None:
    assert post(api, LIMITS, {**LIMIT, "amount_usd": "-1"}).status_code == 422
    assert post(api, LIMITS, LIMIT).status_code == 201


def test_each_caller_and_organization_has_its_own_keys(
    api: APIClient, key: Key, organization: Organization, other_api: APIClient
) -> None:
    colleague = make_key(organization, *Scope, name="colleague").client()
    for client, amount in ((api, "1"), (colleague, "2")):
        assert post(client, LIMITS, {**LIMIT, "amount_usd": amount}).status_code == 201
    assert post(other_api, "/organizations/globex/limits", {**LIMIT, "amount_usd": "3"}).status_code == 201
    assert IdempotencyKey.objects.count() == 3


def test_a_response_of_another_secret_key_is_not_guessed(api: APIClient, key: Key) -> None:
    post(api, LIMITS, LIMIT)
    IdempotencyKey.objects.update(response="garbage")

    response = post(api, LIMITS, LIMIT)

    assert (response.status_code, response.json()["code"]) == (409, "idempotent_response_lost")


def test_an_operators_request_for_an_organization_is_repeated_safely(operator_api: APIClient) -> None:
    first, second = (post(operator_api, "/organizations", {"name": "Initech"}) for _ in range(2))

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert Organization.objects.filter(name="Initech").count() == 1
    assert post(operator_api, "/organizations", {"name": "Initrode"}).json()["code"] == "idempotency_key_reused"


@pytest.mark.parametrize("length", [255, 256])
def test_a_key_has_up_to_255_characters(api: APIClient, key: Key, length: int) -> None:
    assert post(api, LIMITS, LIMIT, key="k" * length).status_code == (201 if length == 255 else 422)


def test_keys_are_forgotten_after_a_day(api: APIClient, key: Key, operator_api: APIClient) -> None:
    post(api, LIMITS, LIMIT)
    post(operator_api, "/organizations", {"name": "Initech"})
    now = utc_now()

    assert delete_old_idempotency_keys(now=now + RETENTION - timedelta(minutes=1)) == 0
    assert delete_old_idempotency_keys(now=now + RETENTION + timedelta(minutes=1)) == 2


# --- Usage -----------------------------------------------------------------------------------------------------------


def spent(api: APIClient) -> str:
    return str(api.get("/usage/summary").json()["cost_usd"])


def test_events_without_an_id_get_one_from_the_key(api: APIClient, key: Key) -> None:
    bodies = [post(api, EVENTS, [CALL, {**CALL, "id": "mine"}, CALL]).json() for _ in range(2)]

    assert [body["accepted"] for body in bodies] == [3, 0]
    assert [body["duplicates"] for body in bodies] == [0, 3]
    prefix = bodies[0]["id_prefix"]
    assert set(UsageEvent.objects.values_list("event_id", flat=True)) == {f"{prefix}0", "mine", f"{prefix}2"}
    assert spent(api) == "3"


def test_events_with_an_empty_id_get_one_too(api: APIClient, key: Key) -> None:
    for _ in range(2):
        post(api, EVENTS, {**CALL, "id": "", "request_id": "req-1"})
    assert spent(api) == "1"


def test_the_ids_outlast_the_key(api: APIClient, key: Key) -> None:
    post(api, EVENTS, CALL)
    delete_old_idempotency_keys(now=utc_now() + timedelta(days=400))

    assert post(api, EVENTS, CALL).json()["duplicates"] == 1
    assert spent(api) == "1"


def test_other_events_with_the_same_key_are_refused(api: APIClient, key: Key) -> None:
    post(api, EVENTS, [CALL])
    response = post(api, EVENTS, [CALL, CALL])

    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert spent(api) == "1"


def test_a_request_of_which_nothing_was_stored_leaves_its_key_free(api: APIClient, key: Key) -> None:
    assert post(api, EVENTS, {**CALL, "cost_usd": "-1"}).status_code == 422
    assert post(api, EVENTS, CALL).json()["accepted"] == 1


def test_without_a_key_nothing_changes(api: APIClient, key: Key) -> None:
    bodies = [api.post(EVENTS, CALL).json() for _ in range(2)]

    assert [body["accepted"] for body in bodies] == [1, 1]
    assert "id_prefix" not in bodies[0]


def test_litellms_records_without_an_id_are_repeated_safely(api: APIClient, key: Key) -> None:
    record = {"call_type": "acompletion", "model": "gpt-4o", "custom_llm_provider": "openai", "response_cost": 1}
    results = [post(api, "/integrations/litellm", [record]).json() for _ in range(2)]

    assert [(result["accepted"], result["duplicates"]) for result in results] == [(1, 0), (0, 1)]


def test_cost_entries_without_an_id_are_repeated_safely(api: APIClient, key: Key) -> None:
    entry = {"service": "openai", "amount": 0.25}
    first, second = (post(api, "/costs/runs/run-1/entries", entry) for _ in range(2))

    assert second.json() == first.json()
    assert UsageEvent.objects.count() == 1
