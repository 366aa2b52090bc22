"""The client of docs/limits.md: it waits while only reservations are in the way, and otherwise gives up."""

import re
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from billing.limits.verify import verify_limits
from billing.models import Authorization, UsageEvent
from billing.types import AuthorizationStatus, LimitScope, LimitWindow
from costtrack.clock import utc_now
from organizations.models import Organization
from tests.concurrency.conftest import StartServer, run_concurrently
from tests.conftest import Key
from tests.limits import set_limit, take
from tests.usage import total_cost

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

CLIENTS, CALLS = 20, 5
ESTIMATE, COST = "0.08", "0.006"
_EXAMPLE = re.compile(r"### A complete client\n.*?```python\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def url(start_shared_server: StartServer) -> str:
    return start_shared_server().url


@pytest.fixture
def client(url: str, key: Key, organization: Organization) -> Iterator[dict[str, Any]]:
    """The names that the program in the docs defines."""
    Organization.objects.filter(pk=organization.pk).update(plan="enterprise")
    found = _EXAMPLE.search(Path("docs/limits.md").read_text())
    assert found is not None
    names: dict[str, Any] = {"KEY": key.api_key}
    exec(found[1].replace("https://costtrack.example", url), names)  # noqa: S102 - our own documentation
    with names["costtrack"]:
        yield names


def test_calls_wait_for_reservations_and_all_of_them_are_made(
    client: dict[str, Any], organization: Organization
) -> None:
    set_limit(organization, "1", LimitScope.RUN, "nightly", LimitWindow.LIFETIME)
    refusals: list[httpx.Response] = []
    is_refused = threading.Event()

    def observe(response: httpx.Response) -> None:
        if response.status_code == 429:
            response.read()
            refusals.append(response)
            is_refused.set()

    client["costtrack"].event_hooks = {"response": [observe]}

    def call() -> dict[str, str]:
        assert is_refused.wait(60), "the first calls reserve the whole limit until another call is refused"
        return {"cost_usd": COST}

    def work(number: int) -> None:
        for index in range(CALLS):
            call_id = f"call-{number}-{index}"
            client["call_within_limits"](call, call_id, {"estimated_cost_usd": ESTIMATE}, run_id="nightly")

    run_concurrently(work, list(range(CLIENTS)))

    assert total_cost(UsageEvent.objects.all()) == CLIENTS * CALLS * Decimal(COST)
    assert set(Authorization.objects.values_list("status", flat=True)) == {AuthorizationStatus.SETTLED.value}
    for refusal in refusals:
        body = refusal.json()
        assert (body["reason"], body["retry_after"]) == ("reserved_by_others", 1)
        assert (refusal.headers["Retry-After"], refusal.headers["x-should-retry"]) == ("1", "true")
    assert verify_limits(organization=organization, now=utc_now()).differences == ()


def test_a_call_for_which_too_little_is_left_gives_up(client: dict[str, Any], organization: Organization) -> None:
    set_limit(organization, "1")
    take(organization, "0.5")

    with pytest.raises(client["RefusedError"], match=r"has \$0.50 left, and the call may cost \$1.50"):
        client["call_within_limits"](dict, "call-1", {"estimated_cost_usd": "1.5"})


def test_a_call_that_fails_releases_what_it_reserved(client: dict[str, Any], organization: Organization) -> None:
    set_limit(organization, "1")

    def fail() -> dict[str, str]:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        client["call_within_limits"](fail, "call-1", {"estimated_cost_usd": "1"})
    assert Authorization.objects.get().status == AuthorizationStatus.RELEASED.value
