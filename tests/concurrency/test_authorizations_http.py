"""Concurrent authorizations by HTTP, through four web processes that share only the database."""

from decimal import Decimal
from typing import Any

import httpx
import pytest

from billing.limits.verify import verify_limits
from billing.models import Authorization, UsageEvent
from billing.types import LimitScope, LimitWindow
from costtrack.clock import utc_now
from organizations.models import Organization
from tests.concurrency.calls import Bound, Call, Outcome, assert_exact, calls_of, merge_outcomes, per_value, spent
from tests.concurrency.conftest import StartServer, run_concurrently
from tests.conftest import Key
from tests.limits import set_limit
from tests.plain_http import NO_TLS
from tests.usage import total_cost

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

CLIENTS = 64
CALLS = 3


@pytest.fixture(scope="module")
def urls(start_shared_server: StartServer) -> list[str]:
    """Two servers of two processes each, which keep their connections as in production."""
    return [start_shared_server().url for _ in range(2)]


@pytest.fixture(autouse=True)
def _no_rate_limit(organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")


def by_all_clients(urls: list[str], key: Key, *, estimated: Decimal = Decimal(1)) -> list[list[tuple[Call, bool]]]:
    """Every client's calls, and whether each was granted. `estimated` is which part of the cost is reserved."""

    def make(client: int) -> list[tuple[Call, bool]]:
        headers = {"Authorization": f"Bearer {key.api_key}"}
        with httpx.Client(base_url=urls[client % len(urls)], headers=headers, timeout=120, verify=NO_TLS) as http:
            return [(call, authorize_and_send(http, call, call.cost * estimated)) for call in calls_of(client, CALLS)]

    return run_concurrently(make, list(range(CLIENTS)))


def authorize_and_send(http: httpx.Client, call: Call, estimate: Decimal) -> bool:
    dimensions: dict[str, Any] = {"user_id": call.user, "run_id": call.run, "tags": list(call.tags)}
    answer = http.post("/usage/authorizations", json={**dimensions, "estimated_cost_usd": str(estimate)})
    if answer.status_code == 429:
        assert answer.json()["code"] == "spend_limit_exceeded", answer.text
        is_only_reserved = answer.json()["reason"] == "reserved_by_others"
        assert answer.headers["x-should-retry"] == str(is_only_reserved).lower()
        return False
    assert answer.status_code == 201, answer.text
    response = http.post("/usage/events", json=call.event(answer.json()["id"]))
    assert (response.status_code, response.json()["accepted"]) == (200, 1), response.text
    return True


def outcome_of(answers: list[list[tuple[Call, bool]]]) -> Outcome:
    return merge_outcomes(
        [
            Outcome([call for call, granted in client if granted], [call for call, granted in client if not granted])
            for client in answers
        ]
    )


def test_across_four_processes_the_limits_are_reached_and_not_passed(
    urls: list[str], organization: Organization, key: Key
) -> None:
    set_limit(organization, "1", window=LimitWindow.ROLLING_7D)
    set_limit(organization, "0.45", LimitScope.USER)
    set_limit(organization, "0.15", LimitScope.RUN)
    bounds = [
        Bound(Decimal(1)),
        *per_value("0.45", "user", ("ada", "brin", "carl")),
        *per_value("0.15", "run", (f"run-{number}" for number in range(12))),
    ]

    outcome = outcome_of(by_all_clients(urls, key))

    assert_exact(outcome, bounds)
    assert outcome.refused
    assert total_cost(UsageEvent.objects.of(organization)) == spent(outcome.made) > Decimal("0.9")
    assert not Authorization.objects.of(organization).exclude(status="settled").exists()
    assert verify_limits(organization=organization, now=utc_now()).count == 0


def test_across_four_processes_too_low_estimates_overshoot_by_no_more_than_calls_in_flight_lack(
    urls: list[str], organization: Organization, key: Key
) -> None:
    """Each client has one call in flight at a time, so at most one of each lacks half of its cost."""
    set_limit(organization, "1")

    answers = by_all_clients(urls, key, estimated=Decimal("0.5"))

    most_in_flight = sum(
        (max((call.cost / 2 for call, granted in client if granted), default=Decimal(0)) for client in answers),
        Decimal(0),
    )
    made = outcome_of(answers).made
    assert Decimal("0.9") < spent(made) <= 1 + most_in_flight
    assert total_cost(UsageEvent.objects.of(organization)) == spent(made)
    assert verify_limits(organization=organization, now=utc_now()).count == 0
