"""The same usage costs the same on every way into the ledger, and in an estimate, to the last digit."""

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import transaction

from billing.ingest.quarantine import ingest_or_quarantine
from billing.ingest.usage.types import LARGEST_COUNT
from billing.ingest.usage.usage_reader import read_usage
from billing.models import UsageEvent
from billing.pricing.catalog_import import import_catalog
from billing.pricing.kinds import quantities_as_json
from billing.reports.spend.estimate import Conditions, ModelNotPricedError, cost_of_response
from costtrack.clock import iso
from costtrack.errors import InvalidError
from organizations.models import Organization
from tests.billing.ingest.usage_cases import CASES, OCCURRED_AT, price, right_cost
from tests.usage import send_events

pytestmark = pytest.mark.django_db

WITH_USAGE = [case for case in CASES if case.get("usage")]


@pytest.fixture(autouse=True)
def _catalog() -> Iterator[None]:
    """Everyone's prices are those of the catalog. The cases are about a fixed time."""
    with time_machine.travel(OCCURRED_AT, tick=False):
        import_catalog(now=OCCURRED_AT)
        yield


def when(case: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(case["occurred_at"]) if "occurred_at" in case else OCCURRED_AT


def event_of(case: dict[str, Any], **usage: Any) -> dict[str, Any]:
    event = {"id": case["name"], "occurred_at": iso(when(case)), "service": case["service"], "model": case["model"]}
    tier = {"service_tier": case["service_tier"]} if "service_tier" in case else {}
    return {**event, **tier, **usage}


def stored_costs() -> dict[str, Decimal | None]:
    return dict(UsageEvent.objects.values_list("event_id", "token_cost_usd"))


def test_the_ledger_has_the_right_cost_or_none(organization: Organization) -> None:
    events = []
    for case in CASES:
        usage = case["counts"] if "counts" in case else {"usage": {**(case.get("usage") or {}), **beside(case)}}
        events.append(event_of(case, **usage))
    result = send_events(organization, *events, now=OCCURRED_AT)

    assert (result.accepted, result.rejected) == (len(CASES), 0)
    expected = {case["name"]: right_cost(case) for case in CASES}
    assert stored_costs() == expected
    unknown = [name for name, cost in expected.items() if cost is None]
    assert result.unpriced == len(unknown)
    assert not UsageEvent.objects.filter(event_id__in=unknown, unpriced_reason="").exists()
    assert not UsageEvent.objects.filter(cost_basis="").exists()


def beside(case: dict[str, Any]) -> dict[str, Any]:
    """What the response says beside the usage, as a sender would add it."""
    return {name: value for name, value in (case.get("response") or {}).items() if isinstance(value, str)}


def test_litellms_payloads_cost_the_same(organization: Organization) -> None:
    cases = [case for case in WITH_USAGE if is_of_litellm(case)]
    records = [json.dumps(payload(case)).encode() for case in cases]
    result = ingest_or_quarantine(
        organization=organization, credential=None, format="litellm", records=records, now=OCCURRED_AT
    )

    assert (result.accepted, result.errors) == (len(cases), [])
    assert len(cases) > 40
    read_alike = {}
    for case in cases:
        reading = read_usage(case["usage"], service=case["service"], model=case["model"], source="litellm")
        if (reading.quantities, reading.costs) == (price(case).reading.quantities, price(case).reading.costs):
            read_alike[case["name"]] = right_cost(case)
    costs = stored_costs()
    assert {name: costs[name] for name in read_alike} == read_alike
    assert len(read_alike) > 40


def is_of_litellm(case: dict[str, Any]) -> bool:
    """Whether LiteLLM could send it. Counts of its own that are no counts go to the quarantine."""
    counts = [case["usage"].get(name) for name in ("prompt_tokens", "completion_tokens")]
    return type(counts[0]) is int and all(0 <= count <= LARGEST_COUNT for count in counts if isinstance(count, int))


def payload(case: dict[str, Any]) -> dict[str, Any]:
    usage = case["usage"]
    tier = case.get("service_tier", (case.get("response") or {}).get("service_tier"))
    parameters = {"service_tier": tier} if tier else {}
    counts = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")}
    start = when(case).timestamp()
    return {
        "id": case["name"],
        "call_type": "acompletion",
        "status": "success",
        "custom_llm_provider": case["service"],
        "model": case["model"],
        "startTime": start,
        "endTime": start + 1,
        "response_cost": 0,
        "metadata": {"usage_object": usage},
        "model_parameters": parameters,
        **{name: count for name, count in counts.items() if isinstance(count, int)},
    }


def test_quantities_cost_the_same(organization: Organization) -> None:
    cases = [case for case in WITH_USAGE if len(price(case).reading.calls) == 1 and price(case).quote.total_usd]
    events = []
    for case in cases:
        reading = price(case).reading
        conditions = {name: reading.attributes[name] for name in ("region",) if name in reading.attributes}
        tier = reading.attributes.get("service_tier", case.get("service_tier"))
        quantities = quantities_as_json(reading.quantities)
        numbers = {kind: float(value) if isinstance(value, str) else value for kind, value in quantities.items()}
        if not set(reading.attributes) - {"service_tier", "region"}:
            events.append({**event_of(case), **conditions, "service_tier": tier, "quantities": numbers})
    assert len(events) > 80
    send_events(organization, *events, now=OCCURRED_AT)

    by_name = {case["name"]: price(case).quote.total_usd for case in cases}
    assert stored_costs() == {event["id"]: by_name[event["id"]] for event in events}


def test_an_estimate_costs_the_same(organization: Organization) -> None:
    different = {}
    for case in WITH_USAGE:
        if "occurred_at" in case:
            continue
        response = {**(case.get("response") or {}), "model": case["model"], "usage": case["usage"]}
        conditions = Conditions(provider=case["service"] or None, service_tier=case.get("service_tier"))
        with transaction.atomic():
            cost = estimate(organization, response, conditions)
        if cost != right_cost(case):
            different[case["name"]] = (cost, right_cost(case))
    assert different == {}


def estimate(organization: Organization, response: dict[str, Any], conditions: Conditions) -> Decimal | None:
    try:
        found = cost_of_response(organization=organization, response=response, conditions=conditions, now=OCCURRED_AT)
    except (ModelNotPricedError, InvalidError):
        return None
    return found.cost_usd
