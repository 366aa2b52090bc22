"""Requests per minute, by plan and credential, on a real Redis."""

import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient, APIRequestFactory

from costtrack import heartbeat
from costtrack.errors import DomainError
from organizations import rate_limits
from organizations.api.base import OrganizationScopedAPIView
from organizations.models import Organization, Plan, User
from organizations.rate_limits import take_slot
from organizations.types import Scope
from tests.conftest import Key, make_key
from tests.example_requests import endpoints

PATH = "/usage/summary"
NAMES = (
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
)


def allow(requests_per_minute: int | None) -> None:
    Plan.objects.filter(code="pay_as_you_go").update(requests_per_minute=requests_per_minute)


def limits_of(response: Any) -> dict[str, int]:
    return {name: int(response.headers[name]) for name in NAMES if name in response.headers}


def redis_seconds() -> int:
    seconds, _ = heartbeat.client().time()
    return int(seconds)


def made_before(key: Key, *seconds: int) -> None:
    """As if the credential had made a request so many seconds ago, each."""
    now = redis_seconds()
    for ago in seconds:
        heartbeat.client().hincrby(f"costtrack:requests:{key.credential.pk}", str(now - ago), 1)


def at_once(key: Key, threads: int, times: int) -> int:
    """How many of `threads` x `times` concurrent requests are let through."""
    organization = key.credential.organization
    assert organization is not None
    barrier = Barrier(threads)

    def ask(_: int) -> int:
        barrier.wait(timeout=20)
        taken = [take_slot(organization=organization, credential=key.credential) for _ in range(times)]
        return sum(allowance is not None and allowance.granted for allowance in taken)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(ask, range(threads)))


# --- The rule --------------------------------------------------------------------------------------------------


def test_of_concurrent_requests_exactly_as_many_as_the_plan_says_are_let_through(organization: Organization) -> None:
    organization.plan.requests_per_minute = 100
    key = make_key(organization, *Scope)
    assert at_once(key, threads=16, times=25) == 100


@pytest.mark.django_db(transaction=True)
def test_of_concurrent_http_requests_exactly_as_many_are_answered(key: Key) -> None:
    allow(20)
    barrier = Barrier(8)

    def ask(_: int) -> list[int]:
        client = key.client()
        barrier.wait(timeout=20)
        try:
            return [client.get(PATH).status_code for _ in range(4)]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        statuses = [status for answered in pool.map(ask, range(8)) for status in answered]
    assert (statuses.count(200), statuses.count(429)) == (20, 12)


def test_requests_older_than_a_minute_do_not_count(api: APIClient, key: Key) -> None:
    allow(3)
    made_before(key, 61, 62, 300)
    assert limits_of(api.get(PATH))["RateLimit-Remaining"] == 2
    assert heartbeat.client().hlen(f"costtrack:requests:{key.credential.pk}") == 1


def test_requests_of_before_the_clock_was_set_back_count_for_a_minute_and_not_until_it_has_caught_up(
    api: APIClient, key: Key
) -> None:
    allow(3)
    made_before(key, -3600, -3540)
    assert limits_of(api.get(PATH)) | {"RateLimit-Remaining": 0, "RateLimit-Reset": 60} == limits_of(api.get(PATH))


def test_a_slot_is_free_again_when_the_oldest_request_leaves_the_minute(api: APIClient, key: Key) -> None:
    allow(2)
    before = redis_seconds()
    made_before(key, 50, 20)
    refused = api.get(PATH)
    passed = redis_seconds() - before  # the clock moves on meanwhile
    assert refused.status_code == 429
    assert 10 - passed <= int(refused.headers["Retry-After"]) <= 11
    assert before + 10 <= int(refused.headers["X-RateLimit-Reset"]) <= before + passed + 10


def test_refused_requests_do_not_count(api: APIClient, key: Key) -> None:
    allow(1)
    assert [api.get(PATH).status_code for _ in range(4)] == [200, 429, 429, 429]
    assert sum(map(int, heartbeat.client().hvals(f"costtrack:requests:{key.credential.pk}"))) == 1


def test_a_count_is_forgotten_by_redis_itself(api: APIClient, key: Key) -> None:
    api.get(PATH)
    assert 59 <= int(heartbeat.client().ttl(f"costtrack:requests:{key.credential.pk}")) <= 61


def test_each_credential_has_a_count_of_its_own(
    organization: Organization, api: APIClient, other_api: APIClient
) -> None:
    allow(1)
    assert [api.get(PATH).status_code, api.get(PATH).status_code] == [200, 429]
    assert make_key(organization, *Scope).client().get(PATH).status_code == 200
    assert other_api.get(PATH).status_code == 200


def test_all_credentials_of_an_organization_share_ten_times_the_rate(
    organization: Organization, other_api: APIClient
) -> None:
    allow(2)
    clients = [make_key(organization, *Scope).client() for _ in range(11)]
    answered = [client.get(PATH) for client in clients[:10] for _ in range(2)]
    assert {response.status_code for response in answered} == {200}
    assert limits_of(answered[0]) | {"RateLimit-Limit": 2, "RateLimit-Remaining": 1} == limits_of(answered[0])
    assert limits_of(answered[-1])["RateLimit-Remaining"] == 0

    refused = clients[10].get(PATH)
    assert refused.status_code == 429
    assert (limits_of(refused)["RateLimit-Limit"], limits_of(refused)["RateLimit-Remaining"]) == (20, 0)
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert other_api.get(PATH).status_code == 200


def test_the_key_and_a_token_of_one_credential_share_its_count(api: APIClient, key: Key) -> None:
    allow(1)
    basic = APIClient(headers={"Authorization": "Basic " + b64encode(key.api_key.replace(".", ":").encode()).decode()})
    form = "grant_type=client_credentials"
    token = basic.post("/oauth2/token", form, content_type="application/x-www-form-urlencoded")
    assert api.get(PATH).status_code == 200
    with_token = APIClient(headers={"Authorization": f"Bearer {token.json()['access_token']}"})
    assert with_token.get(PATH).status_code == 429


def test_a_change_of_the_plan_counts_from_the_next_request(organization: Organization, api: APIClient) -> None:
    allow(1)
    assert [api.get(PATH).status_code, api.get(PATH).status_code] == [200, 429]
    allow(5)
    assert limits_of(api.get(PATH))["RateLimit-Remaining"] == 3
    Organization.objects.filter(pk=organization.pk).update(plan="pro")
    assert limits_of(api.get(PATH))["RateLimit-Limit"] == 3000
    Organization.objects.filter(pk=organization.pk).update(plan="pay_as_you_go")
    allow(0)
    assert api.get(PATH).status_code == 429
    allow(None)
    assert limits_of(api.get(PATH)) == {}


# --- Whom it concerns ------------------------------------------------------------------------------------------


def test_people_are_not_limited(owner: User) -> None:
    allow(1)
    client = APIClient()
    client.force_login(owner)
    answers = [client.get(PATH) for _ in range(3)]
    assert [(answer.status_code, limits_of(answer)) for answer in answers] == [(200, {})] * 3


def test_operators_are_not_limited(operator_api: APIClient, organization: Organization) -> None:
    allow(1)
    answers = [operator_api.get(PATH, {"organization": organization.slug}) for _ in range(3)]
    assert [(answer.status_code, limits_of(answer)) for answer in answers] == [(200, {})] * 3


def test_usage_that_has_happened_is_recorded_at_any_rate(api: APIClient) -> None:
    allow(1)
    assert [api.get(PATH).status_code, api.get(PATH).status_code] == [200, 429]
    for number in range(3):
        event = {"id": f"e-{number}", "model": "m", "input_tokens": 1}
        cost = {"id": f"c-{number}", "service": "openai", "amount": 1}
        answers = [
            api.post("/usage/events", event),
            api.post("/integrations/litellm", [{"id": f"l-{number}", "model": "m"}]),
            api.post("/costs/runs/r/entries", cost),
        ]
        assert [(answer.status_code, limits_of(answer)) for answer in answers] == [(200, {}), (200, {}), (201, {})]


def test_no_way_of_recording_usage_is_limited() -> None:
    """By the scope: an endpoint that needs `usage:write` records usage, unless it only reads, such as the check of
    credentials of Langfuse's SDKs."""
    limited: list[str] = []
    unlimited: list[str] = []
    for endpoint in endpoints():
        view = getattr(endpoint.pattern.callback, "cls", None)
        if view is None or not issubclass(view, OrganizationScopedAPIView) or endpoint.method == "get":
            continue
        if view.scopes_by_action.get(endpoint.method, view.required_scope) == Scope.USAGE_WRITE:
            is_limited = endpoint.method not in view.actions_without_rate_limit
            (limited if is_limited else unlimited).append(str(endpoint))
    assert limited == []
    assert unlimited


# --- Answers ---------------------------------------------------------------------------------------------------


def test_every_answer_says_what_is_left(organization: Organization, key: Key, api: APIClient) -> None:
    narrow = make_key(organization).client()
    answers = [api.get(PATH), api.get(PATH, {"range": "nonsense"}), api.get("/organizations/globex"), api.delete(PATH)]
    assert [answer.status_code for answer in answers] == [200, 422, 404, 405]
    assert [limits_of(answer)["RateLimit-Remaining"] for answer in answers] == [599, 598, 597, 596]
    refused = narrow.get(PATH)
    assert (refused.status_code, limits_of(refused)["RateLimit-Remaining"]) == (403, 599)


def test_both_families_of_headers_say_the_same(api: APIClient, key: Key) -> None:
    made_before(key, 30)
    before = int(time.time())
    headers = limits_of(api.get(PATH))
    assert tuple(headers) == NAMES
    assert headers["RateLimit-Limit"] == headers["X-RateLimit-Limit"] == 600
    assert headers["RateLimit-Remaining"] == headers["X-RateLimit-Remaining"] == 598
    assert headers["RateLimit-Reset"] in (30, 31)
    assert 29 <= headers["X-RateLimit-Reset"] - before <= 33


NATIVE = {"error": "Rate limit exceeded", "code": "too_many_requests"}
DETAIL = {"detail": "Rate limit exceeded"}
LITELLM = {
    "error": {"message": "Rate limit exceeded", "type": "too_many_requests", "param": None, "code": "429"},
}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/usage/summary", NATIVE),
        ("GET", "/organizations/acme/credentials", NATIVE),
        ("POST", "/system/pricing", DETAIL),
        ("GET", "/costs/runs", DETAIL),
        ("GET", "/costs/summary", DETAIL),
        ("GET", "/spend/tags", LITELLM),
    ],
)
def test_the_refusal_is_in_the_familys_form(api: APIClient, method: str, path: str, body: dict[str, Any]) -> None:
    allow(0)
    refused = api.generic(method, path)
    assert (refused.status_code, refused.json()) == (429, body)
    headers = limits_of(refused)
    assert headers["RateLimit-Remaining"] == 0
    assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"] == "60"


class SpendLimitReached(OrganizationScopedAPIView):
    """As an endpoint that a spend limit refuses."""

    required_scope = Scope.COSTS_READ

    def get(self, request: Request) -> Response:
        headers = {"X-RateLimit-Reset": "1893456000", "Retry-After": "400000"}
        raise DomainError("Spend limit reached", code="spend_limit_exceeded", headers=headers)


def test_the_reset_of_a_spend_limit_wins_over_the_rate_limits(key: Key) -> None:
    response = SpendLimitReached.as_view()(APIRequestFactory().get("/", HTTP_X_API_KEY=key.api_key))
    assert response.headers["X-RateLimit-Reset"] == "1893456000"
    assert response.headers["Retry-After"] == "400000"
    assert (response.headers["RateLimit-Reset"], response.headers["X-RateLimit-Remaining"]) == ("60", "599")


def test_a_cached_response_has_the_headers_of_its_own_request(api: APIClient) -> None:
    answers = [api.get("/costs/runs") for _ in range(2)]
    assert [answer.headers["X-Cache-Hit"] for answer in answers] == ["0", "1"]
    assert [limits_of(answer)["RateLimit-Remaining"] for answer in answers] == [599, 598]


def test_the_script_is_sent_again_when_redis_has_forgotten_it(api: APIClient) -> None:
    api.get(PATH)
    heartbeat.client().script_flush()
    assert limits_of(api.get(PATH))["RateLimit-Remaining"] == 598
    assert not rate_limits.breaker.is_open
