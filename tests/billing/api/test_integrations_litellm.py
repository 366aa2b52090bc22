"""`POST /integrations/litellm`, the door of LiteLLM's generic API logger, by HTTP."""

import gzip
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from billing.ingest.quarantine import retry
from billing.models import IngestBatch, QuarantinedRecord, UsageEvent
from costtrack.clock import utc_now
from organizations.models import Organization
from organizations.types import Scope
from tests.billing.ingest.litellm_payloads import NAMES, all_payloads, payload, with_metadata
from tests.conftest import Key, make_key
from tests.profiles import examples

PATH = "/integrations/litellm"
DAY = timedelta(days=1)


def post(api: APIClient, body: Any, content_type: str = "application/json", **headers: str) -> Any:
    """Post JSON, or bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.post(PATH, data, content_type=content_type, headers=headers)


def counted(response: Any) -> tuple[int, int, int, int]:
    """Accepted, duplicates, conflicts, rejected."""
    assert response.status_code == 200, response.content
    body = response.json()
    assert len(body["errors"]) == body["conflicts"] + body["rejected"]
    return body["accepted"], body["duplicates"], body["conflicts"], body["rejected"]


def _everything_stored() -> str:
    rows = [*UsageEvent.objects.values(), *QuarantinedRecord.objects.values(), *IngestBatch.objects.values()]
    return repr(rows)


def test_a_batch_is_stored_with_litellms_costs(api: APIClient, organization: Organization) -> None:
    records = [payload(name) for name in ("openai_chat", "anthropic_cache", "cache_hit", "unknown_model")]
    assert counted(post(api, [*records, None])) == (4, 0, 0, 0)
    events = UsageEvent.objects.order_by("occurred_at")
    assert [(event.model, event.token_cost_usd, event.cost_source) for event in events] == [
        ("gpt-4o-mini", Decimal("0.00000585"), "reported"),
        ("claude-sonnet-4-5", Decimal("0.010110000000000001"), "reported"),
        ("house-model", None, "computed"),
        ("gpt-4o-mini", Decimal(0), "reported"),
    ]
    assert {event.organization for event in events} == {organization}
    batch = IngestBatch.objects.get()
    assert (batch.format, batch.accepted, batch.unpriced) == ("litellm", 4, 1)


def test_the_same_batch_again_is_all_duplicates(api: APIClient) -> None:
    records = [{**record, "id": f"{number}"} for number, record in enumerate(all_payloads())]
    assert counted(post(api, records)) == (len(records), 0, 0, 0)
    assert counted(post(api, records)) == (0, len(records), 0, 0)
    assert UsageEvent.objects.count() == len(records)


def test_every_attempt_of_one_request_is_stored(api: APIClient) -> None:
    attempts = [payload("proxy_embedding_failed"), payload("proxy_embedding_fallback")]
    assert len({attempt["id"] for attempt in attempts}) == 1
    assert counted(post(api, attempts)) == (2, 0, 0, 0)
    assert [event.status for event in UsageEvent.objects.order_by("occurred_at")] == ["failure", "success"]


def test_bad_records_do_not_fail_the_request_and_are_quarantined(api: APIClient) -> None:
    response = post(api, [payload(), payload(id="bad", startTime="yesterday"), "text", None])
    assert counted(response) == (1, 0, 0, 2)
    errors = [(error["index"], error.get("id"), error.get("field")) for error in response.json()["errors"]]
    assert errors == [(1, "bad", "startTime"), (2, None, None)]
    assert QuarantinedRecord.objects.count() == 2


def test_a_batch_of_bad_records_alone_is_answered_alike(api: APIClient) -> None:
    response = post(api, [payload(startTime="yesterday")])
    assert counted(response) == (0, 0, 0, 1)
    assert response.json()["batch_id"] is None


@pytest.mark.parametrize("body", [[], None, [None, None]])
def test_nothing_to_store_is_fine(api: APIClient, body: Any) -> None:
    assert counted(post(api, body)) == (0, 0, 0, 0)


@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson"])
def test_lines_are_read_as_litellm_sends_them(api: APIClient, content_type: str) -> None:
    lines = [payload("openai_chat"), None, payload("gemini")]
    body = "\n".join(map(json.dumps, lines)).encode()
    assert counted(post(api, body, content_type)) == (2, 0, 0, 0)


def test_a_single_payload_is_read(api: APIClient) -> None:
    assert counted(post(api, payload())) == (1, 0, 0, 0)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_the_content_type_does_not_matter(api: APIClient, content_type: str) -> None:
    assert counted(post(api, [payload()], content_type)) == (1, 0, 0, 0)


def test_numbers_and_text_that_are_not_json_spoil_nothing(api: APIClient) -> None:
    odd = payload(id="odd", response={"logprobs": [float("-inf")]}, messages="cut \ud83d")
    body = json.dumps([payload(), odd]).encode()
    assert b"-Infinity" in body
    assert counted(post(api, body)) == (2, 0, 0, 0)


def test_compressed_bodies_are_read(api: APIClient) -> None:
    body = gzip.compress(json.dumps([payload()]).encode())
    assert counted(post(api, body, content_encoding="gzip")) == (1, 0, 0, 0)


def test_no_prompt_and_no_answer_is_in_the_database(api: APIClient) -> None:
    good = [{**record, "id": f"good-{number}"} for number, record in enumerate(all_payloads())]
    bad = [{**record, "id": f"bad-{number}", "startTime": "x"} for number, record in enumerate(all_payloads())]
    assert counted(post(api, [*good, *bad])) == (len(NAMES), 0, 0, len(NAMES))
    stored = _everything_stored()
    assert "good-0" in stored
    assert "bad-0" in stored
    assert "neutral" not in stored


@pytest.mark.usefixtures("whole_history")
def test_runs_are_made_of_what_the_caller_says(api: APIClient) -> None:
    post(api, [with_metadata(spend_logs_metadata={"run_id": "child", "parent_run_id": "root", "workflow_id": "w"})])
    answer = api.get("/costs/runs/root?include_children=true").json()
    assert answer["total_cost"] == 0.00000585
    assert answer["costs_by_group"] == {"openai": {"gpt-4o-mini": 0.00000585}}


def test_the_end_user_becomes_the_user_where_the_endpoint_says_so(api: APIClient) -> None:
    by_key = with_metadata(user_api_key_user_id="u-1")
    for query, number in (("", 1), ("?end_user_as_user=false", 2), ("?end_user_as_user=true", 3)):
        records = [payload(id=f"end-{number}"), {**by_key, "id": f"key-{number}"}, None]
        assert counted(api.post(f"{PATH}{query}", records, format="json")) == (2, 0, 0, 0)
    users = dict(UsageEvent.objects.values_list("event_id", "user_ref"))
    assert [users[f"end-{number}"] for number in (1, 2, 3)] == ["", "", "user-7"]
    assert [users[f"key-{number}"] for number in (1, 2, 3)] == ["u-1"] * 3
    assert set(UsageEvent.objects.values_list("end_user", flat=True)) == {"user-7"}


def test_the_quarantine_remembers_that_the_end_user_is_the_user(api: APIClient) -> None:
    answer = api.post(
        f"{PATH}?end_user_as_user=true", [payload(startTime=(utc_now() + 3 * DAY).timestamp())], format="json"
    )
    assert counted(answer) == (0, 0, 0, 1)
    retry(record=QuarantinedRecord.objects.get(), now=utc_now() + 4 * DAY)
    assert UsageEvent.objects.get().user_ref == "user-7"


@pytest.mark.parametrize("query", ["end_user_as_user=perhaps", "end_user_as_users=true"])
def test_a_wrong_parameter_of_the_endpoint_is_refused_by_name(api: APIClient, query: str) -> None:
    response = api.post(f"{PATH}?{query}", [payload()], format="json")
    assert response.status_code == 422
    assert query.partition("=")[0] in response.content.decode()
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b"hello", "not a JSON array or object"),
        (b"[hello]", "not valid JSON"),
        (b"[{", "is incomplete"),
    ],
)
def test_what_is_not_json_at_all_is_refused(api: APIClient, body: bytes, message: str) -> None:
    response = post(api, body)
    assert response.status_code == 400
    assert response.json()["code"] == "malformed"
    assert message in response.json()["error"]


def test_a_batch_with_long_prompts_may_be_larger_than_other_bodies(api: APIClient) -> None:
    long = payload(messages="x" * settings.INTAKE_MAX_BYTES)
    assert counted(post(api, [long])) == (1, 0, 0, 0)
    with override_settings(LITELLM_MAX_BYTES=1024):
        response = post(api, [long])
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


@override_settings(INTAKE_MAX_EVENTS=2)
def test_more_records_than_a_request_may_bring_are_refused(api: APIClient) -> None:
    response = post(api, [None, None, None])
    assert (response.status_code, response.json()["code"]) == (413, "too_many_events")


def test_who_may_come_in(organization: Organization, key: Key) -> None:
    assert post(APIClient(), [payload()]).status_code == 401
    assert post(APIClient(), [payload()], authorization="Bearer wrong").status_code == 401
    reader = make_key(organization, Scope.COSTS_READ)
    response = post(reader.client(), [payload()])
    assert (response.status_code, response.json()["code"]) == (403, "missing_scope")
    assert post(APIClient(), [payload()], x_api_key=key.api_key).status_code == 200


def test_organizations_may_use_the_same_ids(api: APIClient, other_api: APIClient) -> None:
    assert counted(post(api, [payload()])) == (1, 0, 0, 0)
    assert counted(post(other_api, [payload()])) == (1, 0, 0, 0)


def test_a_plan_without_api_records_usage_all_the_same(api: APIClient, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    assert counted(post(api, [payload()])) == (1, 0, 0, 0)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)
_fields = st.sampled_from(sorted(payload()))
_records = _json | st.dictionaries(_fields, _json).map(lambda changes: {**payload(), **changes})


@examples(60)
@given(records=st.lists(_records, max_size=6))
def test_each_item_of_an_array_is_counted_and_invalid_ones_are_quarantined(api: APIClient, records: list[Any]) -> None:
    QuarantinedRecord.objects.all().delete()
    response = post(api, records)
    assert sum(counted(response)) == sum(record is not None for record in records)
    bad = [_storable(error.get("id") or "") for error in response.json()["errors"]]
    quarantined = list(QuarantinedRecord.objects.values_list("record_id", flat=True))
    assert set(quarantined) == set(bad)
    assert quarantined.count("") == bad.count("")


def _storable(record_id: str) -> str:
    return record_id.replace("\0", "\N{REPLACEMENT CHARACTER}")[:255]


def test_an_object_that_is_no_call_is_quarantined(api: APIClient) -> None:
    answer = api.post("/integrations/litellm", [{}, {"events": []}]).json()

    assert (answer["accepted"], answer["rejected"]) == (0, 2)
    assert set(QuarantinedRecord.objects.values_list("code", flat=True)) == {"no_payload"}
    assert not UsageEvent.objects.exists()
