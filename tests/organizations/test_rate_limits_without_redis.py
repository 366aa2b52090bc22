"""While Redis is away, requests go through without limits, quickly, and the operators' page says so."""

import socket
import time
from collections.abc import Iterator

import pytest
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from costtrack import heartbeat
from costtrack.breaker import Breaker
from organizations import rate_limits, refused_attempts
from organizations.models import User
from organizations.rate_limits import TIMEOUT_SECONDS

PATH = "/usage/summary"
NOBODY = "redis://127.0.0.1:1/0"


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Of this process' breakers, which are others again afterwards."""
    clock = Clock()
    for module, name in ((rate_limits, "rate limits"), (refused_attempts, "throttle of wrong credentials")):
        monkeypatch.setattr(module, "breaker", Breaker(name, pause_seconds=5, clock=clock))
    heartbeat.client.cache_clear()
    yield clock
    heartbeat.client.cache_clear()


def use(settings: Settings, url: str) -> None:
    heartbeat.client.cache_clear()
    settings.REDIS_URL = url


def test_requests_go_through_and_it_is_logged_once(
    api: APIClient, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    use(settings, NOBODY)
    answers = [api.get(PATH) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert not any("ratelimit" in name.lower() for name in answers[0].headers)
    messages = [f"{name}: paused after a failure" for name in ("throttle of wrong credentials", "rate limits")]
    assert caplog.messages == messages


def test_limits_hold_again_soon_after_redis_is_back(
    api: APIClient, settings: Settings, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    url = settings.REDIS_URL
    use(settings, NOBODY)
    api.get(PATH)
    use(settings, url)
    assert "RateLimit-Limit" not in api.get(PATH).headers
    clock.seconds += 5
    assert api.get(PATH).headers["RateLimit-Remaining"] == "599"
    assert caplog.messages[-1] == "rate limits: available again"


def test_a_redis_that_says_nothing_costs_one_request_a_short_wait(
    api: APIClient, settings: Settings, clock: Clock
) -> None:
    api.get(PATH)  # what is made once for each process
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        use(settings, f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        silent.settimeout(0)
        started = time.monotonic()
        assert [api.get(PATH).status_code for _ in range(10)] == [200] * 10
        assert TIMEOUT_SECONDS <= time.monotonic() - started < 60
        assert _connections(silent) == 1
        clock.seconds += 5
        assert [api.get(PATH).status_code for _ in range(3)] == [200] * 3
        assert _connections(silent) == 1


def _connections(server: socket.socket) -> int:
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_operators_see_whether_limits_hold(
    client: Client, api: APIClient, operator: User, settings: Settings, clock: Clock
) -> None:
    url = settings.REDIS_URL
    assert [(check.ok, check.state) for check in rate_limits.rate_limit_checks()] == [(True, "enforced")]
    use(settings, NOBODY)
    assert [(check.ok, check.state) for check in rate_limits.rate_limit_checks()] == [(False, "not enforced")]
    client.force_login(operator)
    page = client.get("/admin/health/").content.decode()
    assert "so requests are not limited" in page

    api.get(PATH)
    use(settings, url)
    assert [check.state for check in rate_limits.rate_limit_checks()] == ["not enforced"]
    clock.seconds += 5
    api.get(PATH)
    assert [check.state for check in rate_limits.rate_limit_checks()] == ["enforced"]


def test_limits_that_do_not_hold_stop_no_requests(client: Client) -> None:
    assert "rate_limits" not in client.get("/readyz").json()["checks"]
