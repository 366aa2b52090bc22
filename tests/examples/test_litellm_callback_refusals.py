"""costtrack-litellm: calls that are refused reach no provider, and what happens while costtrack is away."""

import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from billing.models import Authorization, UsageEvent
from billing.types import LimitScope, LimitWindow
from organizations.models import Organization, Plan
from tests.examples.conftest import LITELLM_ENVIRONMENT, Programs, Setting
from tests.examples.programs import PRELUDE
from tests.limits import set_limit
from tests.usage import total_cost

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(480)]

AUTHORIZE = "POST /usage/authorizations"


def authorization_requests(setting: Setting) -> int:
    return setting.relay.requests.count(AUTHORIZE)


def test_a_refused_call_says_until_when_and_is_not_made(
    run: Programs, setting: Setting, organization: Organization
) -> None:
    set_limit(organization, "0.0025", window=LimitWindow.CALENDAR_DAY)
    results = run(
        """
        await call()
        await callback.aclose()
        try:
            await call()
        except litellm.BudgetExceededError as error:
            results.extend([error.status_code, error.code, error.body["limit"]["window"]])
            results.extend([error.resets_at, error.headers])
            results.extend([error.body["spent_usd"], str(error)])
        """
    )
    status, code, window, resets_at, headers, spent, message = results
    assert (status, code, window, spent) == (429, "spend_limit_exceeded", "calendar_day", "0.002")
    assert resets_at.endswith("T00:00:00Z")
    assert headers["x-should-retry"] == "false"
    assert int(headers["retry-after"]) > 0
    assert int(headers["x-ratelimit-reset"]) > 1_700_000_000
    assert "daily limit of the organization" in message
    assert setting.provider.calls == ["fine"]
    assert UsageEvent.objects.count() == 1  # a refusal is no call


def test_above_the_plans_rate_limit_a_call_is_refused_and_may_come_again(
    run: Programs, setting: Setting, organization: Organization
) -> None:
    Plan.objects.filter(pk=organization.plan_id).update(requests_per_minute=1)
    results = run(
        """
        await call()
        try:
            await call()
        except CallRefusedError as error:
            results.extend([error.status_code, error.code, error.headers])
        """
    )
    status, code, headers = results
    assert (status, code) == (429, "too_many_requests")
    assert 0 < int(headers["retry-after"]) <= 61
    assert "x-should-retry" not in headers
    assert setting.provider.calls == ["fine"]


@pytest.mark.parametrize("retries", ["num_retries=3", "max_retries=3", "num_retries=3, stream=True"])
def test_a_refused_call_is_not_repeated(
    run: Programs, setting: Setting, organization: Organization, retries: str
) -> None:
    set_limit(organization, "0.001")
    options = retries if "max_retries" in retries else f"{retries}, max_retries=None"
    results = run(
        f"""
        try:
            await call({options})
        except CallRefusedError as error:
            results.append(error.status_code)
        """
    )
    assert (results, setting.provider.calls, authorization_requests(setting)) == ([429], [], 1)


def test_the_router_neither_repeats_a_refused_call_nor_bars_its_deployment(
    run: Programs, setting: Setting, organization: Organization
) -> None:
    set_limit(organization, "0.001", LimitScope.USER, "ada")
    results = run(
        """
        def deployment(name):
            return {"model_name": name, "litellm_params": {"model": "openai/fine", **where()}}
        models = [deployment("first"), deployment("second")]
        router = litellm.Router(model_list=models, fallbacks=[{"first": ["second"]}], num_retries=3)
        async def ask(user):
            metadata = {"spend_logs_metadata": {"user_id": user}}
            return await router.acompletion(model="first", messages=MESSAGES, max_tokens=500, metadata=metadata)
        for _ in range(3):
            try:
                await ask("ada")
            except CallRefusedError as error:
                results.append(error.body["limit"]["scope_value"])
        results.append((await ask("brin")).model)
        """
    )
    assert results == ["ada", "ada", "ada", "fine"]
    assert (len(setting.provider.calls), authorization_requests(setting)) == (1, 4)


def test_a_model_without_a_price_is_refused_under_a_limit_that_pauses(
    run: Programs, setting: Setting, organization: Organization
) -> None:
    set_limit(organization, "1")
    results = run(
        """
        try:
            await call("unheard-of")
        except CallRefusedError as error:
            results.extend([error.status_code, error.code, error.message])
        """
    )
    assert results[:2] == [422, "model_not_priced"]
    assert "unheard-of" in results[2]
    assert setting.provider.calls == []


def test_while_costtrack_is_away_calls_go_on_and_their_usage_arrives_later(
    run: Programs, setting: Setting, organization: Organization
) -> None:
    """Only the first call waits for the answer, and the answer that comes too late is given back."""
    results = run(
        """
        import httpx
        relay = os.environ["COSTTRACK_URL"]
        httpx.put(relay + "/shut")
        started = time.monotonic()
        for _ in range(5):
            await call()
        results.append(time.monotonic() - started)
        httpx.put(relay + "/open")
        """,
        COSTTRACK_TIMEOUT_MS="700",
    )
    assert results[0] < 5 * 0.7
    assert len(setting.provider.calls) == 5
    assert total_cost(UsageEvent.objects.of(organization)) == 5 * Decimal("0.002")
    assert set(Authorization.objects.values_list("status", flat=True)) <= {"released"}
    assert 1 <= authorization_requests(setting) < 5


def test_a_gateway_may_refuse_while_costtrack_is_away(run: Programs, setting: Setting) -> None:
    results = run(
        """
        for _ in range(2):
            try:
                await call()
            except CallRefusedError as error:
                results.extend([error.status_code, error.code])
        """,
        COSTTRACK_URL="http://127.0.0.1:1",
        COSTTRACK_IN_OUTAGE="refuse",
    )
    assert results == [503, "limits_unavailable"] * 2
    assert setting.provider.calls == []


def test_a_call_cancelled_during_authorization_reserves_nothing(
    run: Programs, setting: Setting, organization: Organization
) -> None:
    run(
        """
        import httpx
        relay = os.environ["COSTTRACK_URL"]
        httpx.put(relay + "/shut")
        pending_call = asyncio.create_task(call())
        while not httpx.put(relay + "/shut").json():
            await asyncio.sleep(0.01)
        pending_call.cancel()
        await asyncio.gather(pending_call, return_exceptions=True)
        httpx.put(relay + "/open")
        while not callback.reporter.sent:
            await asyncio.sleep(0.01)
        """
    )
    assert setting.provider.calls == []
    assert list(Authorization.objects.values_list("status", flat=True)) == ["released"]


def test_a_program_that_just_ends_loses_no_usage(
    gateway_python: Path, setting: Setting, organization: Organization, tmp_path: Path
) -> None:
    program = f"{PRELUDE}\ncallback = CosttrackCallback()\nlitellm.callbacks = [callback]\nasyncio.run(call())\n"
    environment = {**setting.environment, "HOME": str(tmp_path), **LITELLM_ENVIRONMENT}
    subprocess.run([gateway_python, "-c", program], env=environment, check=True, timeout=120)
    assert UsageEvent.objects.get().cost_usd == Decimal("0.002")
    assert Authorization.objects.get().status == "settled"
