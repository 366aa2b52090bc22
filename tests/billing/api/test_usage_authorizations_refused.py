"""`/usage/authorizations`: bad input of every kind, who may come in, and other organizations' authorizations."""

import gzip
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client, override_settings
from rest_framework.test import APIClient

from billing.models import Authorization
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.limits import take
from tests.usage import set_price

URL = "/usage/authorizations"
REQUEST = {"estimated_cost_usd": "0.25"}


def post(api: APIClient, body: bytes, **headers: str) -> Any:
    return api.post(URL, data=body, content_type="application/json", headers=headers)


# --- The body --------------------------------------------------------------------------------------------------

LONG = "x" * 256
HI = [{"role": "user", "content": "hi"}]
BAD_FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"color": "red"}, "color", "unknown_field"),
    ({"model": 7}, "model", "invalid"),
    ({"model": LONG}, "model", "invalid"),
    ({"model": "a\0b"}, "model", "invalid_text"),
    ({"user_id": ["ada"]}, "user_id", "invalid"),
    ({"run_id": LONG}, "run_id", "invalid"),
    ({"session_id": "\0"}, "session_id", "invalid_text"),
    ({"tags": "one"}, "tags", "invalid"),
    ({"tags": ["t"] * 51}, "tags", "invalid"),
    ({"tags": [LONG]}, "tags[0]", "invalid"),
    ({"tags": ["a\0b"]}, "tags", "invalid_text"),
    ({"estimated_cost_usd": "-0.01"}, "estimated_cost_usd", "out_of_range"),
    ({"estimated_cost_usd": "NaN"}, "estimated_cost_usd", "out_of_range"),
    ({"estimated_cost_usd": "Infinity"}, "estimated_cost_usd", "out_of_range"),
    ({"estimated_cost_usd": "1e12"}, "estimated_cost_usd", "out_of_range"),
    ({"estimated_cost_usd": "1e999999999"}, "estimated_cost_usd", "out_of_range"),
    ({"estimated_cost_usd": "a lot"}, "estimated_cost_usd", "invalid"),
    ({"estimated_cost_usd": True}, "estimated_cost_usd", "invalid"),
    ({"estimated_cost_usd": None}, "estimated_cost_usd", "required"),
    ({"ttl_seconds": 0}, "ttl_seconds", "invalid"),
    ({"ttl_seconds": 86_401}, "ttl_seconds", "invalid"),
    ({"ttl_seconds": 1.5}, "ttl_seconds", "invalid"),
    ({"ttl_seconds": "60"}, "ttl_seconds", "invalid"),
    ({"ttl_seconds": True}, "ttl_seconds", "invalid"),
    ({"idempotency_key": LONG}, "idempotency_key", "invalid"),
    ({"idempotency_key": "\0"}, "idempotency_key", "invalid_text"),
    ({"input_tokens": 5, "max_tokens": 5}, "model", "required"),
    ({"model": "m", "input_tokens": 5}, "max_tokens", "required"),
    ({"model": "m", "messages": HI}, "max_tokens", "required"),
    ({"model": "m", "max_tokens": 5}, "input_tokens", "required"),
    ({"model": "m", "max_tokens": 5, "input_tokens": 5, "messages": HI}, "messages", "ambiguous"),
    ({"model": "m", "max_tokens": 5, "messages": []}, "messages", "invalid"),
    ({"model": "m", "max_tokens": 5, "messages": "hi"}, "messages", "invalid"),
    ({"model": "m", "max_tokens": 5, "messages": ["hi"]}, "messages.0", "invalid"),
    ({"model": "m", "max_tokens": 5, "messages": [{"role": 7}]}, "messages.0.role", "invalid"),
    ({"model": "m", "max_tokens": -1, "input_tokens": 5}, "max_tokens", "invalid"),
    ({"model": "m", "max_tokens": 10**13, "input_tokens": 5}, "max_tokens", "invalid"),
    ({"model": "m", "max_tokens": "5", "input_tokens": 5}, "max_tokens", "invalid"),
    ({"model": "gold", "max_tokens": 10**12, "input_tokens": 10**12}, "max_tokens", "out_of_range"),
]


@pytest.mark.parametrize(("fields", "field", "code"), BAD_FIELDS, ids=lambda value: str(value)[:40])
def test_a_bad_field_is_named(api: APIClient, fields: dict[str, Any], field: str, code: str) -> None:
    set_price("gold", input="999999999999", output="999999999999")

    response = api.post(URL, {**REQUEST, **fields})

    assert response.status_code == 422, response.content
    assert response.json()["code"] == code
    assert list(response.json()["fields"]) == [field]
    assert field.partition("[")[0] in response.json()["error"] or code == "out_of_range"
    assert not Authorization.objects.exists()


def test_without_an_amount_or_tokens_there_is_nothing_to_reserve(api: APIClient) -> None:
    for body in ({}, {"model": "gpt-4o"}, {"user_id": "ada", "ttl_seconds": 5}):
        response = api.post(URL, body)
        assert (response.status_code, list(response.json()["fields"])) == (422, ["estimated_cost_usd"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"   ", 400),
        (b"nonsense", 400),
        (b'{"estimated_cost_usd": 1', 400),
        (b'{"model": "\xff"}', 400),
        (b'{"model": "\\ud800", "estimated_cost_usd": 1}', 400),
        (b'{"estimated_cost_usd": 1} {}', 400),
        (b'{"messages": ' + b"[" * 5000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b"42", 422),
        (b'"text"', 422),
    ],
)
def test_a_body_that_is_no_object_is_refused(api: APIClient, body: bytes, status: int) -> None:
    response = post(api, body)
    assert response.status_code == status, response.content
    assert set(response.json()) >= {"error", "code"}


def test_a_body_may_be_compressed_and_not_be_too_large(api: APIClient) -> None:
    small = gzip.compress(b'{"estimated_cost_usd": 1}')
    assert post(api, small, **{"Content-Encoding": "gzip"}).status_code == 201
    bomb = gzip.compress(b" " * (4 * 1024 * 1024 + 1))
    assert post(api, bomb, **{"Content-Encoding": "gzip"}).status_code == 413
    assert post(api, b"not gzip", **{"Content-Encoding": "gzip"}).status_code == 400
    assert post(api, small, **{"Content-Encoding": "br"}).status_code == 415
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1000):
        assert post(api, b" " * 1001).status_code == 413


def test_the_header_and_the_field_of_a_key_may_not_contradict_each_other(api: APIClient) -> None:
    authorization = {**REQUEST, "idempotency_key": "one"}
    response = api.post(URL, authorization, headers={"Idempotency-Key": "two"})
    assert (response.status_code, list(response.json()["fields"])) == (422, ["idempotency_key"])
    assert api.post(URL, authorization, headers={"Idempotency-Key": "one"}).status_code == 201
    response = api.post(URL, REQUEST, headers={"Idempotency-Key": LONG})
    assert (response.status_code, list(response.json()["fields"])) == (422, ["Idempotency-Key"])
    assert api.post(URL, REQUEST, headers={"Idempotency-Key": " "}).status_code == 201
    assert Authorization.objects.filter(idempotency_key="").count() == 1


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{}", 422, "ttl_seconds"),
        (b'{"ttl_seconds": null}', 422, "ttl_seconds"),
        (b'{"ttl_seconds": 0}', 422, "ttl_seconds"),
        (b'{"ttl_seconds": 86401}', 422, "ttl_seconds"),
        (b'{"ttl_seconds": "5"}', 422, "ttl_seconds"),
        (b'{"ttl_seconds": 5, "status": "settled"}', 422, "status"),
        (b"[5]", 422, None),
        (b"", 400, None),
    ],
)
def test_an_extension_says_for_how_long(
    api: APIClient, organization: Organization, body: bytes, status: int, field: str | None
) -> None:
    authorization = take(organization, "1").authorization
    response = api.patch(f"{URL}/{authorization.pk}", data=body, content_type="application/json")
    assert response.status_code == status, response.content
    assert list(response.json().get("fields", {})) == ([field] if field else [])
    before = authorization.expires_at
    authorization.refresh_from_db()
    assert authorization.expires_at == before


# --- Who may come in -------------------------------------------------------------------------------------------


def test_each_method_needs_its_scope(organization: Organization) -> None:
    gateway, reader = (make_key(organization, scope).client() for scope in (Scope.LIMITS_AUTHORIZE, Scope.COSTS_READ))
    created = gateway.post(URL, REQUEST)
    item = f"{URL}/{created.json()['id']}"

    assert created.status_code == 201
    assert (gateway.get(item).status_code, gateway.patch(item, {"ttl_seconds": 5}).status_code) == (200, 200)
    assert gateway.get(URL).status_code == reader.post(URL, REQUEST).status_code == 403
    assert reader.get(URL).status_code == 200
    for response in (reader.get(item), reader.patch(item, {"ttl_seconds": 5}), reader.delete(item)):
        assert (response.status_code, response.json()["scope"]) == (403, "limits:authorize")
    assert gateway.delete(item).status_code == 204
    for method in ("get", "post", "patch", "delete"):
        assert getattr(APIClient(), method)(item if method in ("patch", "delete") else URL).status_code == 401


def test_members_see_them_and_who_may_change_things_takes_them(
    owner: User, viewer: User, stranger: User, organization: Organization
) -> None:
    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    assert signed_in(viewer).get(URL).status_code == 200
    assert signed_in(viewer).post(URL, REQUEST, content_type="application/json").status_code == 403
    assert signed_in(owner).post(URL, REQUEST, content_type="application/json").status_code == 201
    assert Authorization.objects.get().credential is None
    assert signed_in(stranger).get(f"{URL}?organization=acme").status_code == 404
    assert signed_in(stranger).get(URL).json()["results"] == []


def test_a_plan_without_api_has_no_authorizations(api: APIClient, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    response = api.post(URL, REQUEST)
    assert (response.status_code, response.json()["code"]) == (403, "plan_without_api")


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_are_refused_in_json(api: APIClient, method: str) -> None:
    response = getattr(api, method)(URL)
    assert response.status_code == 405
    assert response.json()["code"]


# --- Other organizations' --------------------------------------------------------------------------------------


def test_a_foreign_and_an_unknown_authorization_answer_alike(
    api: APIClient, organization: Organization, other_organization: Organization
) -> None:
    theirs = take(other_organization, "1", key="k").authorization
    answers = []
    for pk in (theirs.pk, uuid4()):
        url = f"{URL}/{pk}"
        responses = (api.get(url), api.patch(url, {"ttl_seconds": 5}), api.delete(url))
        answers.append([(response.status_code, response.json()) for response in responses])
    assert answers[0] == answers[1]
    assert {status for status, _ in answers[0]} == {404}
    before = (theirs.status, theirs.expires_at)
    theirs.refresh_from_db()
    assert (theirs.status, theirs.expires_at) == before
    assert api.get(f"{URL}/7").status_code == 404


def test_another_credentials_key_is_not_answered_with_its_authorization(organization: Organization) -> None:
    item, other = (make_key(organization, Scope.LIMITS_AUTHORIZE).client() for _ in range(2))
    body = {**REQUEST, "idempotency_key": "k"}
    assert item.post(URL, body).status_code == 201
    assert other.post(URL, body).json()["code"] == "idempotency_key_reused"
