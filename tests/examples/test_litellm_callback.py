"""costtrack-litellm with LiteLLM's SDK: what becomes of each kind of call, against a running server."""

from decimal import Decimal

import pytest

from billing.models import Authorization, IngestBatch, QuarantinedRecord, UsageEvent
from organizations.models import Organization
from tests.examples.conftest import Programs, Setting
from tests.usage import total_cost

# The first run installs LiteLLM with its proxy, which takes about a minute.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(480)]

COST = Decimal("0.002")


def states(organization: Organization) -> list[tuple[str, Decimal | None]]:
    """Of each authorization, in the order in which they were taken."""
    rows = Authorization.objects.of(organization).order_by("created_at", "id")
    return list(rows.values_list("status", "settled_usd"))


def test_a_call_is_authorized_before_and_settled_after(
    run: Programs, setting: Setting, organization: Organization
) -> None:
    run(
        """
        said = {"run_id": "r-1", "workflow_id": "w", "session_id": "s"}
        await call(metadata={"tags": ["team:search"], "spend_logs_metadata": {**said, "user_id": "ada"}})
        """
    )
    authorization, event = Authorization.objects.get(), UsageEvent.objects.get()
    assert (authorization.status, authorization.settled_usd, event.cost_usd) == ("settled", COST, COST)
    assert authorization.amount_usd == Decimal("0.001") + Decimal("0.000001") * 11  # 500 tokens at most, after 11
    assert event.authorization_id == authorization.pk
    assert (event.source, event.service, event.model) == ("litellm", "openai", "fine")
    for row in (authorization, event):
        assert (row.run_id, row.workflow_id, row.session_id) == ("r-1", "w", "s")
        assert (row.user_ref, row.tags) == ("ada", ["team:search"])
    assert setting.relay.requests == ["POST /usage/authorizations", "POST /integrations/litellm"]


def test_a_stream_is_settled_at_its_end(run: Programs, organization: Organization) -> None:
    results = run(
        """
        stream = await call(stream=True, stream_options={"include_usage": True})
        results.append("".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]))
        """
    )
    assert results == ["These are some neutral words."]
    assert states(organization) == [("settled", COST)]


def test_litellms_own_logger_beside_the_hook_sends_what_is_known_already(
    run: Programs, organization: Organization
) -> None:
    run(
        """
        from litellm.integrations.generic_api.generic_api_callback import GenericAPILogger
        own = GenericAPILogger(
            endpoint=os.environ["COSTTRACK_URL"] + "/integrations/litellm",
            headers={"Authorization": "Bearer " + os.environ["COSTTRACK_TOKEN"]},
            flush_interval=3600,
        )
        litellm.callbacks = [own, callback]
        await call()
        await callback.aclose()
        await own.async_send_batch()
        """
    )
    batches = IngestBatch.objects.of(organization).order_by("received_at")
    assert [(batch.accepted, batch.duplicates, batch.conflicts) for batch in batches] == [(1, 0, 0), (0, 1, 0)]
    assert states(organization) == [("settled", COST)]
    assert not QuarantinedRecord.objects.exists()


def test_parallel_calls_are_settled_each_by_its_own(
    run: Programs, setting: Setting, organization: Organization
) -> None:
    run("await asyncio.gather(*(call(stream=number % 2 == 0) for number in range(20)))\nawait asyncio.sleep(0)")
    assert len(setting.provider.calls) == 20
    assert not Authorization.objects.of(organization).filter(status="reserved").exists()
    ids = Authorization.objects.of(organization).values_list("id", flat=True)
    assert set(UsageEvent.objects.of(organization).values_list("authorization_id", flat=True)) == set(ids)


def test_a_failed_call_is_released_and_costs_nothing(run: Programs, organization: Organization) -> None:
    results = run(
        """
        try:
            await call("failing")
        except litellm.InternalServerError as error:
            results.append(error.status_code)
        """
    )
    assert results == [500]
    assert states(organization) == [("released", None)]
    event = UsageEvent.objects.get()
    assert (event.status, event.cost_usd, event.input_tokens) == ("failure", 0, 0)


def test_a_stream_that_breaks_is_settled_by_what_had_come(run: Programs, organization: Organization) -> None:
    results = run(
        """
        try:
            async for chunk in await call("broken", stream=True):
                results.append(chunk.choices[0].delta.content)
        except Exception:
            results.append("broken")
        while not callback.reporter.sent:
            await asyncio.sleep(0.01)
        """
    )
    assert results == ["These ", "are ", "some ", "broken"]
    event = UsageEvent.objects.get()
    assert (event.status, event.input_tokens > 0, event.output_tokens) == ("failure", True, 4)
    assert states(organization) == [("settled", event.cost_usd)]


def test_an_abandoned_stream_is_settled_by_what_had_come(run: Programs, organization: Organization) -> None:
    results = run(
        """
        stream = await call("stuck", stream=True)
        async for chunk in stream:
            results.append(chunk.choices[0].delta.content)
            if len(results) == 3:
                break
        await callback.leave(stream)
        """
    )
    assert results == ["These ", "are ", "some "]
    event = UsageEvent.objects.get()
    assert (event.status, event.status_code, event.input_tokens, event.output_tokens) == ("failure", 499, 11, 4)
    assert event.metadata is not None
    assert event.metadata["estimated"] is True
    assert states(organization) == [("settled", event.cost_usd)]


@pytest.mark.parametrize("how", ["await asyncio.wait_for(call('stuck'), 1)", "await call('stuck', timeout=1)"])
def test_a_call_without_an_answer_is_settled_by_its_prompt(run: Programs, organization: Organization, how: str) -> None:
    results = run(
        f"""
        try:
            {how}
        except (TimeoutError, litellm.Timeout):
            results.append("nothing came")
        gc.collect()
        """
    )
    assert results == ["nothing came"]
    event = UsageEvent.objects.get()
    assert (event.status, event.input_tokens, event.output_tokens) == ("failure", 11, 0)
    assert event.status_code in (408, 499)
    assert states(organization) == [("settled", Decimal("0.000011"))]


def test_each_attempt_of_the_router_has_an_authorization_of_its_own(
    run: Programs, setting: Setting, organization: Organization
) -> None:
    run(
        """
        def deployment(name, model):
            return {"model_name": name, "litellm_params": {"model": "openai/" + model, **where(), "max_retries": 0}}
        models = [deployment("first", "failing"), deployment("second", "fine")]
        router = litellm.Router(model_list=models, fallbacks=[{"first": ["second"]}], num_retries=1, retry_after=0)
        await router.acompletion(model="first", messages=MESSAGES, max_tokens=500)
        """
    )
    assert setting.provider.calls[-1] == "fine"
    assert states(organization) == [("released", None)] * (len(setting.provider.calls) - 1) + [("settled", COST)]
    assert total_cost(UsageEvent.objects.of(organization)) == COST


def test_a_direct_call_that_is_to_be_repeated_is_still_one_call_of_the_ledger(
    run: Programs, setting: Setting, organization: Organization
) -> None:
    """LiteLLM repeats direct calls past all hooks; the hook makes the provider's client do it."""
    run(
        """
        try:
            await call("failing", num_retries=2, max_retries=None)
        except litellm.InternalServerError:
            pass
        """
    )
    assert len(setting.provider.calls) == 3
    assert states(organization) == [("released", None)]


def test_usage_of_the_synchronous_functions_is_recorded(run: Programs, organization: Organization) -> None:
    run(
        """
        await asyncio.to_thread(litellm.completion, "openai/fine", messages=MESSAGES, **where())
        while not callback.reporter.sent:  # LiteLLM reports it by a thread of its own
            await asyncio.sleep(0.01)
        """
    )
    assert UsageEvent.objects.get().cost_usd == COST
    assert states(organization) == []
