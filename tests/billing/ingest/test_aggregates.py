"""Aggregates: events that are the sum of several requests, as usage exports of providers have them."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.exports import ledger_events
from billing.ledger.calls import call_of
from billing.ledger.corrections import void
from billing.models import UsageEvent
from billing.reports.events import explain
from billing.types import LimitWindow
from organizations.models import Organization
from tests.billing.limits.enforcement import Enforce, enforced, open_threshold_events
from tests.billing.limits.factories import make_limit
from tests.usage import NOW, Send, set_price, total_cost

__all__ = ["enforced"]  # a fixture from another module

TIERED = "tiered"


@pytest.fixture(autouse=True)
def _prices(organization: Organization) -> None:
    """Above 200,000 tokens of input, a call costs twice as much."""
    price = set_price(TIERED, organization=organization, input="1", output="2")
    price.tiers = [{"above_input_tokens": 200_000, "input_usd_per_million": "2", "output_usd_per_million": "4"}]
    price.save()


def aggregate(**fields: Any) -> dict[str, Any]:
    usage = {"uncached_input_tokens": 1_000_000, "output_tokens": 100_000}
    return {"model": TIERED, "occurred_at": NOW.isoformat(), "usage": usage, **fields}


def cost(event: UsageEvent) -> Decimal | None:
    return event.token_cost_usd


def test_an_aggregate_counts_its_requests_and_is_marked(send: Send) -> None:
    result = send(aggregate(requests=40), aggregate(requests=0), aggregate())
    known, unknown, single = UsageEvent.objects.order_by("id")
    assert [event.requests for event in (known, unknown, single)] == [40, 1, 1]
    assert known.flags == [{"code": "aggregate", "detail": "40 requests"}]
    assert unknown.flags == [{"code": "aggregate", "detail": "an unknown number of requests"}]
    assert (single.flags, result.flagged) == (None, 2)


def test_the_tier_of_prices_is_that_of_a_request_not_of_the_sum(send: Send) -> None:
    send(
        aggregate(requests=40),
        aggregate(requests=0),
        aggregate(requests=4),
        aggregate(usage={"input_tokens": 1000, "output_tokens": 100}),
    )
    small, unknown, large, single = UsageEvent.objects.order_by("id")
    assert cost(single) is not None
    assert cost(small) == cost(unknown) == 1000 * (cost(single) or 0)
    assert (cost(large) or 0) > (cost(small) or 0)
    for event in (small, unknown, large):
        assert explain(event).quote.total_usd == cost(event)
        assert call_of(event).sum_of == {small.pk: 40, unknown.pk: 0, large.pk: 4}[event.pk]


def test_a_fee_per_request_is_charged_for_each(send: Send, organization: Organization) -> None:
    set_price("searcher", organization=organization, input="1", output="1", request="0.01")
    send({"model": "searcher", "input_tokens": 1_000_000, "output_tokens": 0, "requests": 50, "id": "a"})
    assert total_cost(UsageEvent.objects.all()) == Decimal("1.5")
    assert send(
        {"model": "searcher", "input_tokens": 1_000_000, "output_tokens": 0, "requests": 51, "id": "a"}
    ).conflicts


def test_a_void_takes_back_all_requests(send: Send, organization: Organization) -> None:
    send(aggregate(requests=40))
    event = UsageEvent.objects.get()
    void(organization=organization, event_id=event.pk, reason="imported twice", actor="test", now=NOW)
    assert sum(row.requests for row in UsageEvent.objects.all()) == 0


def test_old_aggregates_do_not_pause_a_limit_of_today(
    send: Send, organization: Organization, enforced: Enforce
) -> None:
    make_limit(organization, window=LimitWindow.CALENDAR_WEEK)
    send(aggregate(requests=40, cost_usd="1000", occurred_at=(NOW - timedelta(days=30)).isoformat()))
    assert enforced() == []
    assert open_threshold_events() == []
    send(aggregate(requests=40, cost_usd="1000"))
    assert len(open_threshold_events()) or enforced()


@pytest.mark.parametrize("kind", ["tool_call", "compute", "session_summary"])
def test_only_model_calls_can_be_aggregates(kind: str, send: Send) -> None:
    result = send({"kind": kind, "requests": 2, "session_id": "s"})
    assert [(error.field, error.code) for error in result.errors] == [("requests", "not_allowed")]


def test_an_exported_aggregate_is_one_again(send: Send, organization: Organization) -> None:
    send(aggregate(requests=40, id="a"), aggregate(requests=0, id="b"), aggregate(id="c"))
    rows = ledger_events._rows(organization.pk, ["model_call"])
    exported = {row["event_id"]: ledger_events._call_amounts(row) for row in rows}
    assert {event_id: fields.get("requests") for event_id, fields in exported.items()} == {"a": 40, "b": 0, "c": None}
