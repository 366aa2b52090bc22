"""Document 000: `POST /system/refresh`."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from billing.models import GenerationGroup, IngestBatch
from billing.rollups import refresh as refreshing
from billing.rollups.definitions import BY_NAME
from billing.rollups.locks import try_lock_rollups
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import Send

PATH = "/system/refresh"


def unfolded_batches(organization: Organization) -> int:
    return IngestBatch.objects.of(organization).filter(folded_at=None).count()


@pytest.mark.parametrize("body", ["", "{}"])
def test_it_answers_like_the_document(api: APIClient, organization: Organization, send: Send, body: str) -> None:
    send({"model": "gpt-4o", "cost_usd": "1", "group_id": "g"})

    response = api.generic("POST", PATH, body, content_type="application/json")

    assert response.status_code == 200, response.content
    assert response.json() == {
        "success": True,
        "refreshed_views": list(BY_NAME),
        "invalidated_tags": ["system", "pricing", "group"],
        "idempotency_key": None,
    }
    assert response["X-Invalidate-Tags"] == "system,pricing,group"
    assert unfolded_batches(organization) == 0
    assert GenerationGroup.objects.of(organization).get().group_id == "g"


def test_refreshing_twice_is_like_once(api: APIClient, send: Send) -> None:
    send({"model": "gpt-4o", "service": "openai", "cost_usd": "1", "group_id": "g"})
    figures = api.post("/system/groups", {}).json()

    responses = [api.post(PATH, {"idempotency_key": "once", "accept": {"any": "thing"}}).json() for _ in range(2)]

    assert responses[0] == responses[1]
    assert responses[0]["idempotency_key"] == "once"
    assert api.post("/system/groups", {}).json() == figures


def test_softly_a_fold_is_enqueued(api: APIClient, organization: Organization, send: Send) -> None:
    send({"model": "gpt-4o", "cost_usd": "1"})

    answer = api.post(PATH, {"soft": True}).json()

    assert (answer["success"], answer["refreshed_views"]) == (True, [])
    assert unfolded_batches(organization) == 1


def test_where_much_is_unfolded_the_request_does_not_wait_for_it(
    api: APIClient, organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshing, "_MAX_EVENTS", 1)
    send({"model": "gpt-4o", "cost_usd": "1"}, {"model": "gpt-4o", "cost_usd": "2"})

    assert api.post(PATH, {}).json()["refreshed_views"] == []
    assert unfolded_batches(organization) == 1


def test_during_another_fold_it_does_not_report_one(api: APIClient, organization: Organization, send: Send) -> None:
    send({"model": "gpt-4o", "cost_usd": "1"})
    folder = connection.copy()
    folder.set_autocommit(False)
    try:
        with folder.cursor() as cursor:
            assert try_lock_rollups(cursor, organization.pk)
            assert api.post(PATH, {}).json()["refreshed_views"] == []
            assert unfolded_batches(organization) == 1
    finally:
        folder.close()

    assert api.post(PATH, {}).json()["refreshed_views"] == list(BY_NAME)
    assert unfolded_batches(organization) == 0


def test_only_the_callers_organization_is_refreshed(
    api: APIClient, organization: Organization, other_organization: Organization, send: Send
) -> None:
    send({"model": "gpt-4o", "cost_usd": "1"})
    send({"model": "gpt-4o", "cost_usd": "1"}, to=other_organization)

    api.post(PATH, {})

    assert (unfolded_batches(organization), unfolded_batches(other_organization)) == (0, 1)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"soft": "perhaps"}, "soft"),
        ({"idempotency_key": "x" * 256}, "idempotency_key"),
        ({"idempotency_key": "a\0b"}, "idempotency_key"),
        ({"views": []}, "views"),
    ],
)
def test_a_wrong_field_is_named(api: APIClient, body: dict[str, Any], field: str) -> None:
    response = api.post(PATH, body)

    assert response.status_code == 422, response.content
    assert response.json()["detail"][0]["loc"] == ["body", field]


def test_readers_may_refresh(organization: Organization, viewer: User, stranger: User) -> None:
    assert APIClient().post(PATH, {}).status_code == 401
    assert make_key(organization, Scope.USAGE_WRITE).client().post(PATH, {}).status_code == 403
    assert make_key(organization, Scope.COSTS_READ).client().post(PATH, {}).status_code == 200
    for user, status in ((viewer, 200), (stranger, 404)):
        client = Client()
        client.force_login(user)
        url = f"{PATH}?organization={organization.slug}"
        assert client.post(url, {}, content_type="application/json").status_code == status
