"""costtrack-litellm in a real LiteLLM proxy: the hook file beside its configuration, and clients over HTTP."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from billing.models import Authorization, UsageEvent
from billing.types import LimitScope, LimitWindow
from organizations.models import Organization
from tests.examples.conftest import Setting
from tests.examples.litellm_proxy import REQUEST_BODY, Proxy, complete
from tests.limits import set_limit
from tests.usage import total_cost

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(480)]

COST = Decimal("0.002")


@pytest.fixture
def start(gateway_python: Path, setting: Setting, tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    started: list[Proxy] = []

    def _start(**environment: str) -> Proxy:
        provider = setting.provider.url
        started.append(Proxy(gateway_python, tmp_path, {**setting.environment, **environment}, provider_url=provider))
        return started[-1]

    yield _start
    for proxy in started:
        proxy.end()


@pytest.fixture
def proxy(start: Callable[..., Proxy]) -> Proxy:
    proxy = start()
    proxy.wait_until_ready()
    return proxy


def read(client: httpx.Client, model: str, lines: int) -> None:
    """The first lines of a stream; then the client is gone."""
    with client.stream("POST", "/v1/chat/completions", json={"model": model, **REQUEST_BODY, "stream": True}) as answer:
        for number, _ in enumerate(answer.iter_lines()):
            if number == lines:
                return


def test_calls_through_the_proxy_are_authorized_and_settled(proxy: Proxy, organization: Organization) -> None:
    with proxy.client(**{"x-litellm-spend-logs-metadata": '{"run_id": "r-1"}'}) as client:
        assert complete(client, "fine").json()["usage"]["total_tokens"] == 1500
        read(client, "fine", lines=100)
        assert complete(client, "failing").status_code == 500
        read(client, "stuck", lines=4)
    proxy.end()
    authorizations = Authorization.objects.of(organization)
    assert not authorizations.filter(status="reserved").exists()
    assert set(authorizations.values_list("run_id", flat=True)) == {"r-1"}
    assert authorizations.filter(model="fine", status="settled", settled_usd=COST).count() == 2
    assert set(authorizations.filter(model="failing").values_list("status", flat=True)) == {"released"}
    abandoned = UsageEvent.objects.of(organization).get(model="stuck")
    assert (abandoned.input_tokens, abandoned.output_tokens) == (11, 4)
    assert authorizations.get(model="stuck").settled_usd == abandoned.cost_usd
    assert total_cost(UsageEvent.objects.of(organization)) == 2 * COST + (abandoned.cost_usd or 0)


def test_a_proxy_that_ends_settles_the_calls_of_clients_that_have_just_left(
    proxy: Proxy, setting: Setting, organization: Organization
) -> None:
    with proxy.client() as client:
        read(client, "stuck", lines=4)
    setting.relay.is_open.clear()
    end = threading.Thread(target=proxy.end)
    end.start()
    proxy.wait_until_logged("Finished server process")
    setting.relay.is_open.set()
    end.join()
    assert Authorization.objects.of(organization).get().status == "settled"
    assert UsageEvent.objects.of(organization).get().output_tokens == 4


_VENDORS_SDK = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="sk-test", max_retries=5)
try:
    client.chat.completions.create(model="fine", messages=[{"role": "user", "content": "Hi"}], max_tokens=500)
except openai.RateLimitError as error:
    print(error.status_code, error.response.headers["x-ratelimit-reset"])
"""


def test_a_refusal_reaches_the_client_as_costtrack_gave_it_and_is_not_repeated(
    proxy: Proxy, setting: Setting, organization: Organization, gateway_python: Path
) -> None:
    limit = set_limit(organization, "0.0025", window=LimitWindow.CALENDAR_DAY)
    with proxy.client() as client:
        assert complete(client, "fine").status_code == 200
        while not Authorization.objects.filter(status="settled").exists():
            time.sleep(0.05)  # the proxy tells in the background
        refused = complete(client, "fine")
    assert refused.status_code == 429
    assert refused.headers["x-should-retry"] == "false"
    error = refused.json()["error"]
    assert error["provider_specific_fields"]["code"] == "spend_limit_exceeded"
    assert error["provider_specific_fields"]["limit"]["id"] == limit.pk
    assert "limit of the organization" in error["message"]
    request_count = len(setting.relay.requests)
    done = subprocess.run(
        [gateway_python, "-c", _VENDORS_SDK, proxy.url], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["429", refused.headers["x-ratelimit-reset"]]
    assert len(setting.relay.requests) == request_count + 1
    assert setting.provider.calls == ["fine"]


# --- Users, with the master key and without LiteLLM's database ---------------------------------------------------


def wait_for_events(organization: Organization, number: int) -> None:
    """The proxy reports in the background."""
    while UsageEvent.objects.of(organization).count() < number:
        time.sleep(0.05)


def test_a_limit_of_one_user_refuses_that_user_alone(
    proxy: Proxy, setting: Setting, organization: Organization
) -> None:
    set_limit(organization, "0.0025", LimitScope.USER, "ada")
    set_limit(organization, "0.0035", LimitScope.USER)  # each user's own
    with proxy.client(**{"x-costtrack-user": "ada"}) as ada, proxy.client() as others:
        bea = {"metadata": {"user_id": "bea"}}
        assert complete(ada, "fine").status_code == 200
        assert complete(others, "fine", **bea).status_code == 200
        wait_for_events(organization, 2)
        refused = complete(ada, "fine")
        assert refused.status_code == 429
        assert refused.json()["error"]["provider_specific_fields"]["limit"]["scope_value"] == "ada"
        assert complete(others, "fine", **bea).status_code == 200
        wait_for_events(organization, 3)
        refused = complete(others, "fine", **bea)  # by the limit of each user
        assert refused.status_code == 429
        for _ in range(3):  # without a user, no limit of users is in the way
            assert complete(others, "fine").status_code == 200
        assert complete(others, "fine", user="shopper").status_code == 200
    wait_for_events(organization, 7)
    proxy.end()
    events = UsageEvent.objects.of(organization)
    assert sorted(events.values_list("user_ref", "end_user")) == [
        *[("", "")] * 3,
        ("", "shopper"),
        ("ada", ""),
        *[("bea", "bea")] * 2,
    ]
    users = dict(Authorization.objects.of(organization).values_list("id", "user_ref"))
    assert dict(events.values_list("authorization_id", "user_ref")) == users
    assert len(setting.provider.calls) == 7


@pytest.mark.parametrize("mode", ["authorize", "report"])
def test_the_users_header_is_read_in_each_api_of_the_proxy(
    start: Callable[..., Proxy], reporting: dict[str, str], organization: Organization, setting: Setting, mode: str
) -> None:
    proxy = start(**(reporting if mode == "report" else {}))
    proxy.wait_until_ready()
    with proxy.client(**{"x-costtrack-user": "ada"}) as client:
        session = {"metadata": {"user_id": "session-1"}}  # Anthropic's parameter for the end user
        for path, body in (
            ("/v1/chat/completions", REQUEST_BODY),
            ("/v1/messages", {**REQUEST_BODY, **session}),
            ("/v1/responses", {"input": "What is neutral?"}),
        ):
            answer = client.post(path, json={"model": "mock", **body})
            assert answer.status_code == 200, answer.text
    wait_for_events(organization, 3)
    proxy.end()
    events = UsageEvent.objects.of(organization)
    rows = events.values_list("endpoint", "service", "model", "user_ref", "end_user")
    assert sorted(rows) == [
        ("/v1/chat/completions", "openai", "fine", "ada", ""),
        ("/v1/messages", "openai", "fine", "ada", "session-1"),
        ("/v1/responses", "openai", "fine", "ada", ""),
    ]
    authorizations = Authorization.objects.of(organization).values_list("user_ref", "model", "status")
    assert list(authorizations) == ([("ada", "fine", "settled")] * 3 if mode == "authorize" else [])
    assert set(setting.relay.answered) <= {200, 201}
    if mode == "report":
        assert set(setting.relay.requests) == {"POST /integrations/litellm"}


def test_a_proxy_with_an_unknown_mode_does_not_start(start: Callable[..., Proxy]) -> None:
    log = start(COSTTRACK_MODE="reporting").wait_until_it_fails()
    assert "COSTTRACK_MODE is 'reporting', but must be one of: authorize, report." in log
