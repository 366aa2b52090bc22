"""Values in Redis are data: reading one never runs code, no matter which program wrote it."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from redis import Redis
from rest_framework.test import APIClient

from billing.reports.response_cache_redis import CachedResponse, cache_response, get_cached_response
from organizations.models import Organization


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def redis() -> Redis:
    return Redis.from_url(settings.REDIS_URL)


def stored() -> dict[bytes, Any]:
    """All values in Redis that Django's cache has written."""
    return {key: redis().get(key) for key in redis().scan_iter(":1:*")}


def is_pickle(value: Any) -> bool:
    return bytes(value).startswith(pickle.dumps(0, pickle.HIGHEST_PROTOCOL)[:2])


@pytest.mark.parametrize("value", [1, True, None, 1.5, "text", b"bytes", ["a", 2.5], {"a": [1]}])
def test_a_value_is_read_as_it_was_stored_and_is_no_pickle(value: object) -> None:
    cache.set("value", value)
    assert cache.get("value", "nothing") == value
    assert not any(map(is_pickle, stored().values()))


def test_a_pickle_in_redis_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "created"
    cache.set("value", 1)
    (key,) = stored()
    redis().set(key, pickle.dumps(Payload(path)))
    assert cache.get("value") is None
    assert not path.exists()


def test_a_cached_response_is_no_pickle_and_what_others_have_written_is_none(
    organization: Organization, tmp_path: Path
) -> None:
    path = tmp_path / "created"
    response = CachedResponse("state", b"{}", {"X-Cache-Tags": "system"})
    cache_response(organization=organization, query="/system/pricing", response=response)

    def read() -> CachedResponse | None:
        return get_cached_response(organization=organization, query="/system/pricing", state="state")

    assert read() == response
    ((name, value),) = stored().items()
    assert not is_pickle(value)
    for other in (pickle.dumps(Payload(path)), b"", b"\xc1", b"\x81\xa5state\x01"):
        redis().set(name, other)
        assert read() is None
    assert not path.exists()


def test_sessions_and_tasks_are_json() -> None:
    assert settings.SESSION_SERIALIZER == "django.contrib.sessions.serializers.JSONSerializer"
    assert settings.CELERY_ACCEPT_CONTENT == ["json"]


def test_sign_in_attempts_are_no_pickles(client: APIClient, db: None) -> None:
    client.post("/account/login", {"login": "ada@acme.example", "password": "wrong"})
    attempts = {name: value for name, value in stored().items() if b"allauth" in name}
    assert attempts
    assert not any(map(is_pickle, attempts.values()))
