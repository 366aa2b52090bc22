"""Clients that send wrong credentials too often are refused without a lookup, and others are not."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from costtrack import heartbeat
from costtrack.breaker import Breaker
from costtrack.web_server.callers import CALLER, Caller
from organizations import refused_attempts
from organizations.models import APICredential
from organizations.types import Scope
from tests.conftest import Key, make_key

PATH = "/organizations/acme"


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(refused_attempts, "breaker", Breaker("throttle of wrong credentials"))
    monkeypatch.setattr(refused_attempts, "MAX_BY_CLIENT_ID", 3)
    monkeypatch.setattr(refused_attempts, "MAX_BY_ADDRESS", 6)
    yield
    cache.clear()


def get(api_key: str, **extra: Any) -> Any:
    return APIClient(HTTP_AUTHORIZATION=f"Bearer {api_key}").get(PATH, **extra)


def wrong(key: Key) -> str:
    return f"{key.credential.client_id}.wrong"


def refuse(key: Key, times: int = 3) -> None:
    for _ in range(times):
        assert get(wrong(key)).status_code == 401


def test_after_too_many_wrong_secrets_a_client_id_is_not_looked_up(key: Key) -> None:
    refuse(key)
    for api_key in (wrong(key), f"{key.credential.client_id}.another"):
        with CaptureQueriesContext(connection) as queries:
            answer = get(api_key)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
        assert answer.headers["Retry-After"] == "60"
        assert not queries.captured_queries


def test_refusals_expire_in_a_minute_also_after_the_clock_was_set_back(key: Key) -> None:
    refuse(key)
    keys = list(heartbeat.client().keys("costtrack:refused:*"))
    for name in keys:
        heartbeat.client().expire(name, 3600)
    assert get(wrong(key)).status_code == 429
    assert [name for name in keys if int(heartbeat.client().ttl(name)) > 60] == []


def test_other_addresses_and_other_client_ids_are_not_refused(key: Key) -> None:
    other = make_key(key.credential.organization, *Scope)
    refuse(key)
    assert get(key.api_key, REMOTE_ADDR="192.0.2.7").status_code == 200
    assert get(other.api_key).status_code == 200


def test_many_client_ids_are_refused_by_their_address(key: Key, db: None) -> None:
    for number in range(6):
        assert get(f"ct_{number}.wrong").status_code == 401
    assert get("ct_7.wrong").status_code == 429
    assert get(key.api_key).status_code == 429, "it was never verified in this process"
    assert get(key.api_key, REMOTE_ADDR="192.0.2.7").status_code == 200


def test_a_credential_that_was_verified_before_is_not_locked_out(key: Key) -> None:
    def caller(api_key: str) -> dict[str, Any]:
        return {CALLER: Caller(api_key.encode())}

    assert get(key.api_key, **caller(key.api_key)).status_code == 200
    refuse(key)
    assert get(wrong(key), **caller(wrong(key))).status_code == 429
    assert get(key.api_key, **caller(key.api_key)).status_code == 200

    APICredential.objects.filter(pk=key.credential.pk).update(secret_hash="x" * 64)
    assert get(key.api_key, **caller(key.api_key)).status_code == 401
    assert get(key.api_key, **caller(key.api_key)).status_code == 429, "it is wrong by now"


def test_right_credentials_are_not_counted(key: Key) -> None:
    for _ in range(8):
        assert get(key.api_key).status_code == 200


def test_counts_end_a_minute_after_the_first(key: Key) -> None:
    refuse(key)
    client = heartbeat.client()
    names = list(client.scan_iter("costtrack:refused:*"))
    assert len(names) == 2
    assert all(0 < client.ttl(name) <= 60 for name in names)


def test_the_token_endpoint_counts_too(key: Key) -> None:
    form = {"grant_type": "client_credentials", "client_id": key.credential.client_id, "client_secret": "wrong"}
    encoded = "&".join(f"{name}={value}" for name, value in form.items())
    statuses = [
        APIClient().post("/oauth2/token", encoded, content_type="application/x-www-form-urlencoded").status_code
        for _ in range(5)
    ]
    assert statuses == [401, 401, 401, 429, 429]


def test_without_redis_nothing_is_throttled(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = Breaker("test")
    breaker.failed(ConnectionError())
    monkeypatch.setattr(refused_attempts, "breaker", breaker)
    refuse(key, times=10)
