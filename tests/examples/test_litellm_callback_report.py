"""costtrack-litellm when it only reports, and its settings: with LiteLLM's SDK, against a running server."""

from decimal import Decimal

import pytest

from billing.models import Authorization, UsageEvent
from organizations.models import Organization
from tests.examples.conftest import Programs, Setting
from tests.limits import set_limit
from tests.usage import total_cost

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(480)]

COST = Decimal("0.002")
REPORT = "POST /integrations/litellm"


def test_calls_of_every_kind_are_reported_and_none_is_authorized(
    run: Programs, setting: Setting, reporting: dict[str, str], organization: Organization
) -> None:
    set_limit(organization, "0.0001")  # would refuse each of them
    run(
        """
        await call()
        async for _ in await call(stream=True, stream_options={"include_usage": True}):
            pass
        try:
            await call("failing")
        except litellm.InternalServerError:
            pass
        stream, words = await call("stuck", stream=True), 0
        async for chunk in stream:
            words += 1
            if words == 3:
                break
        await callback.leave(stream)
        try:
            await call("stuck", timeout=1)
        except litellm.Timeout:
            pass
        await asyncio.to_thread(litellm.completion, "openai/fine", messages=MESSAGES, **where())
        while callback.reporter.sent < 6:
            await asyncio.sleep(0.01)
        """,
        **reporting,
    )
    assert set(setting.relay.requests) == {REPORT}
    assert set(setting.relay.answered) == {200}
    assert not Authorization.objects.exists()
    events = UsageEvent.objects.of(organization).order_by("occurred_at")
    rows = events.values_list("model", "status", "status_code", "input_tokens", "output_tokens")
    assert sorted(rows, key=repr) == sorted(
        [
            *[("fine", "success", None, 1000, 500)] * 3,
            ("failing", "failure", 500, 0, 0),
            ("stuck", "failure", 499, 11, 4),
            ("stuck", "failure", 408, 11, 0),
        ],
        key=repr,
    )
    assert [event.cost_usd for event in events.filter(model="fine")] == [COST] * 3


def test_reported_usage_survives_an_outage(
    run: Programs, setting: Setting, reporting: dict[str, str], organization: Organization
) -> None:
    """The relay is shut for all of it; COSTTRACK_IN_OUTAGE is about authorizations alone."""
    run(
        """
        import httpx
        relay = os.environ["COSTTRACK_URL"]
        httpx.put(relay + "/shut")
        for _ in range(5):
            await call()
        httpx.put(relay + "/open")
        """,
        **reporting,
        COSTTRACK_IN_OUTAGE="refuse",
    )
    assert len(setting.provider.calls) == 5
    assert total_cost(UsageEvent.objects.of(organization)) == 5 * COST
    assert set(setting.relay.requests) == {REPORT}


# --- Settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("COSTTRACK_MODE", "reports", "COSTTRACK_MODE is 'reports', but must be one of: authorize, report."),
        ("COSTTRACK_IN_OUTAGE", "no", "COSTTRACK_IN_OUTAGE is 'no', but must be one of: allow, refuse."),
        ("COSTTRACK_END_USER_AS_USER", "1", "COSTTRACK_END_USER_AS_USER is '1', but must be one of: false, true."),
        ("COSTTRACK_TIMEOUT_MS", "0.5s", "COSTTRACK_TIMEOUT_MS is '0.5s', but must be a number that is not negative."),
        ("COSTTRACK_MAX_TOKENS", "-1", "COSTTRACK_MAX_TOKENS is '-1', but must be a number that is not negative."),
        ("COSTTRACK_TTL_SECONDS", "NaN", "COSTTRACK_TTL_SECONDS is 'NaN', but must be a number that is not negative."),
        (
            "COSTTRACK_OTHER_CALLS_USD",
            "5c",
            "COSTTRACK_OTHER_CALLS_USD is '5c', but must be a number that is not negative.",
        ),
    ],
)
def test_an_invalid_setting_is_named_at_the_start(run: Programs, name: str, value: str, said: str) -> None:
    results = run(
        f"""
        os.environ["{name}"] = "{value}"
        try:
            CosttrackCallback()
        except ValueError as error:
            results.append(str(error))
        """
    )
    assert results == [said]


def test_an_empty_setting_is_an_unset_one(run: Programs) -> None:
    results = run(
        """
        for name in [name for name in os.environ if name.startswith("COSTTRACK_")]:
            os.environ[name] = ""
        settings = CosttrackCallback().settings
        results.extend([settings.authorizes, settings.refuses_in_outage, settings.end_user_as_user, settings.timeout])
        results.extend([settings.max_tokens, settings.other_usd, settings.ttl_seconds, settings.url])
        """
    )
    assert results == [True, False, False, 0.5, 4096, "0.05", 600, "http://127.0.0.1:8000"]
