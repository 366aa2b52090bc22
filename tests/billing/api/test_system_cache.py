"""Document 000: kept answers. They may save time, and may not hide anything."""

import json
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from billing.ledger.corrections import void
from billing.models import UsageEvent
from billing.reports import response_cache_redis as responses
from billing.rollups.fold import fold_organization
from billing.rollups.rebuild import rebuild
from costtrack.breaker import Breaker
from organizations.models import Organization, User
from tests.usage import NOW, Send

PATHS = ("/system/pricing", "/system/groups")


def call(cost: str, **fields: Any) -> dict[str, Any]:
    return {"service": "openai", "model": "gpt-4o", "group_id": "g", "cost_usd": cost, "id": cost, **fields}


def ask(api: Client, path: str, body: Any = None, **headers: str) -> tuple[str, Any]:
    """X-Cache-Hit, and the cost in the answer."""
    response = api.generic("POST", path, json.dumps(body or {}), content_type="application/json", headers=headers)
    assert response.status_code == 200, response.content
    answer = response.json()
    rows = answer["daily"] if "daily" in answer else answer["data"]
    return response["X-Cache-Hit"], ([row["total_cost"] for row in rows] or ["0"])[0]


@pytest.mark.parametrize("path", PATHS)
def test_a_query_that_was_answered_is_answered_from_the_cache(api: APIClient, send: Send, path: str) -> None:
    send(call("1"))

    assert ask(api, path) == ("0", "1")
    assert ask(api, path) == ("1", "1")
    first, second = api.post(path, {}), api.post(path, {}, headers={"X-Bypass-Cache": "1"})
    assert first.content == second.content
    assert first["Content-Type"] == second["Content-Type"] == "application/json"
    assert first["X-Cache-Tags"].startswith("system,")
    names = {name for name in second.headers if name.startswith("X-Costtrack")}
    assert names == {name for name in first.headers if name.startswith("X-Costtrack")}


@pytest.mark.parametrize("path", PATHS)
def test_it_can_be_bypassed(api: APIClient, send: Send, path: str) -> None:
    send(call("1"))

    ask(api, path)
    assert ask(api, path, **{"X-Bypass-Cache": "1"}) == ("0", "1")
    assert ask(api, path, **{"X-Bypass-Cache": "0"}) == ("1", "1")


@pytest.mark.parametrize("path", PATHS)
def test_the_same_query_in_other_words_is_the_same(api: APIClient, send: Send, path: str) -> None:
    send(call("1"))

    ask(api, path, {"start_date": "2026-11-01", "end_date": "2026-11-30"})
    assert ask(api, path, {"date_to": "2026-11-30", "date_from": "2026-11-01"})[0] == "1"
    assert ask(api, path, {"start_date": "2026-11-01T00:00:00Z", "end_date": "2026-11-30"})[0] == "1"
    assert ask(api, path, {"start_date": "2026-11-02", "end_date": "2026-11-30"})[0] == "0"
    assert ask(api, path, {"start_date": "2026-11-02", "end_date": "2026-11-30", "model_ids": []})[0] == "1"


@pytest.mark.parametrize("path", PATHS)
def test_acknowledged_usage_is_in_the_response(
    api: APIClient, organization: Organization, send: Send, path: str
) -> None:
    send(call("1"))
    assert ask(api, path) == ("0", "1")

    send(call("2"))
    assert ask(api, path) == ("0", "3")
    assert ask(api, path) == ("1", "3")

    fold_organization(organization_id=organization.pk, now=NOW)
    assert ask(api, path) == ("0", "3")
    assert ask(api, path) == ("1", "3")

    event = UsageEvent.objects.get(event_id="2")
    void(organization=organization, event_id=event.pk, reason="A test.", actor="tests", now=NOW)
    assert ask(api, path) == ("0", "1")

    rebuild(organization_id=organization.pk)
    assert ask(api, path) == ("0", "1")
    assert ask(api, path) == ("1", "1")


@pytest.mark.parametrize("path", PATHS)
def test_a_batch_of_duplicates_changes_nothing(api: APIClient, send: Send, path: str) -> None:
    send(call("1"))
    ask(api, path)

    send(call("1"))

    assert ask(api, path) == ("1", "1")


@pytest.mark.parametrize("path", PATHS)
def test_each_organization_has_its_own(
    api: APIClient, other_api: APIClient, other_organization: Organization, send: Send, path: str
) -> None:
    assert ask(api, path) == ("0", "0")
    assert ask(other_api, path) == ("0", "0")

    send(call("2"), to=other_organization)

    assert ask(api, path) == ("1", "0")
    assert ask(other_api, path) == ("0", "2")


def test_people_and_credentials_share_it(api: APIClient, viewer: User, send: Send) -> None:
    send(call("1"))
    browser = Client()
    browser.force_login(viewer)

    ask(api, PATHS[0])

    assert ask(browser, PATHS[0]) == ("1", "1")


def test_a_refresh_drops_what_was_cached(api: APIClient, other_api: APIClient, send: Send) -> None:
    send(call("1"))
    ask(api, PATHS[0])
    ask(other_api, PATHS[0])

    assert api.post("/system/refresh", {"soft": True}).status_code == 200

    assert ask(api, PATHS[0]) == ("0", "1")
    assert ask(other_api, PATHS[0]) == ("1", "0")


def test_a_query_has_one_cache_key_however_often_the_ledger_changes(api: APIClient, send: Send) -> None:
    for number in range(5):
        send(call(str(number)))
        ask(api, PATHS[0])

    assert len(cache._cache.get_client().keys("*answer:*")) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", PATHS)
def test_without_redis_answers_come_all_the_same(
    api: APIClient, send: Send, settings: Settings, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    send(call("1"))
    monkeypatch.setattr(responses, "breaker", Breaker("response cache"))
    backend = settings.CACHES["default"]
    settings.CACHES = {"default": {**backend, "LOCATION": "redis://127.0.0.1:1/0"}}

    assert ask(api, path) == ("0", "1")
    assert responses.breaker.is_open
    assert ask(api, path) == ("1", "1")  # this process has it
