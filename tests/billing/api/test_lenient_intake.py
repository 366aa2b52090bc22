"""Usage as programs write it is recorded: byte order marks, whole numbers with a point, many tags, costs that are no
price."""

import json
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.models import QuarantinedRecord, SpendLimit, UsageEvent
from tests.billing.ingest.litellm_payloads import payload
from tests.usage import post_raw

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("body", [b'{"id": "a"}', b'[{"id": "a"}]', b'{"events": [{"id": "a"}]}', b'{"id": "a"}\n\n'])
@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson"])
def test_a_byte_order_mark_is_skipped(api: APIClient, body: bytes, content_type: str) -> None:
    if content_type != "application/json" and body.startswith((b"[", b'{"events"')):
        return
    response = post_raw(api, BOM + body, content_type)
    assert (response.status_code, UsageEvent.objects.get().event_id) == (200, "a"), response.content


def test_other_bodies_may_have_a_byte_order_mark_too(api: APIClient) -> None:
    body = json.dumps([payload()]).encode()
    response = api.post("/integrations/litellm", data=BOM + body, content_type="application/json")
    assert response.json()["accepted"] == 1
    estimate = {"model": "m", "estimated_cost_usd": "1"}
    for path, content, status in (
        ("/usage/authorizations", estimate, 201),
        ("/organizations/acme/limits", {"scope": "organization", "window": "lifetime", "amount_usd": "9"}, 201),
    ):
        response = api.post(path, data=BOM + json.dumps(content).encode(), content_type="application/json")
        assert response.status_code == status, response.content


@pytest.mark.parametrize("cost", ["NaN", "-0.5", "-1", "Infinity", '"NaN"'])
def test_a_cost_of_litellm_that_is_no_price_is_computed_instead(api: APIClient, cost: str) -> None:
    record = json.dumps({**payload(), "response_cost": 12345}).replace("12345", cost)
    response = api.post("/integrations/litellm", data=f"[{record}]", content_type="application/json")
    assert (response.json()["accepted"], QuarantinedRecord.objects.count()) == (1, 0)
    assert UsageEvent.objects.get().gateway_cost_usd is None


def test_the_first_fifty_tags_are_stored(api: APIClient) -> None:
    tags = [f"t{number}" for number in range(60)]
    assert api.post("/usage/events", {"id": "a", "tags": ["t0", *tags]}, format="json").status_code == 200
    assert UsageEvent.objects.get().tags == tags[:50]


@pytest.mark.parametrize("form", ['{"id": "a", %s}', '[{"id": "a", %s}, {"id": "b"}]'])
def test_whole_counts_may_have_a_point(api: APIClient, form: str) -> None:
    body = form % '"input_tokens": 12.0, "output_tokens": 3.00, "cost_usd": 0.1'
    assert post_raw(api, body.encode()).status_code == 200
    event = UsageEvent.objects.get(event_id="a")
    assert (event.input_tokens, event.output_tokens) == (12, 3)
    assert post_raw(api, b'{"id": "c", "input_tokens": 12.5}').status_code == 422


@pytest.mark.parametrize(
    "amount",
    [
        "0.30000000000000004",
        '"0.30000000000000004"',
        "3e-1",
        '"3E-1"',
        "0.3",
        '".3"',
    ],
)
def test_amounts_are_digits_with_a_point_or_an_exponent(api: APIClient, amount: str) -> None:
    body = '{"scope": "organization", "window": "lifetime", "amount_usd": %s}' % amount  # noqa: UP031 - JSON braces
    response = api.post("/organizations/acme/limits", data=body, content_type="application/json")
    assert response.status_code == 201, response.content
    assert SpendLimit.objects.get().amount_usd == Decimal(amount.strip('"'))


@pytest.mark.parametrize(
    "amount", ["1_0", " 1", "1 ", "\uff11", "\u0661", "+1", "0x1", "1e", "1,5", "1e-400", "0." + "1" * 25]
)
@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/usage/events", {"id": "a"}, "cost_usd"),
        ("/usage/events", {"id": "a", "kind": "compute"}, "compute_cost_usd"),
        ("/usage/authorizations", {"model": "m"}, "estimated_cost_usd"),
        ("/organizations/acme/limits", {"scope": "organization", "window": "lifetime"}, "amount_usd"),
        ("/organizations/acme/prices", {"model": "m"}, "request_usd"),
    ],
)
def test_any_other_amount_is_refused(api: APIClient, path: str, body: dict[str, Any], name: str, amount: str) -> None:
    response = api.post(path, {**body, name: amount}, format="json")
    assert (response.status_code, name in response.content.decode()) == (422, True), response.content
    assert not UsageEvent.objects.exists()


def test_a_text_in_metadata_is_no_amount(api: APIClient) -> None:
    response = api.post("/usage/events", {"id": "a", "metadata": {"cost_usd": "1_0"}}, format="json")
    assert (response.status_code, UsageEvent.objects.count()) == (200, 1)
