"""Conversion of an event to a priced ledger entry."""

from decimal import Decimal

import pytest

from billing.ingest import ledger_entries
from billing.models import UsageEvent
from organizations.models import Organization
from tests.usage import Send, set_price


def only_event() -> UsageEvent:
    return UsageEvent.objects.get()


def test_a_price_makes_the_cost_and_stays_named(send: Send) -> None:
    price = set_price("m", provider="acme", input="3", output="15", cache_read="0.3", cache_creation="3.75")
    counts = {"input_tokens": 1000, "output_tokens": 100, "cache_read_tokens": 5000, "cache_creation_tokens": 400}
    send({"service": "acme", "model": "m", **counts})

    event = only_event()
    assert event.token_cost_usd == Decimal("0.003") + Decimal("0.0015") + Decimal("0.0015") + Decimal("0.0015")
    assert (event.cost_source, event.price_version_id) == ("computed", price.id)
    assert event.computed_cost_usd is None  # it is the cost


def test_a_reported_cost_is_stored_and_the_calculated_one_next_to_it(send: Send) -> None:
    price = set_price("m", provider="acme", input="3")
    send({"service": "acme", "model": "m", "input_tokens": 1000, "cost_usd": "0.0042"})

    event = only_event()
    assert (event.token_cost_usd, event.cost_source) == (Decimal("0.0042"), "reported")
    assert (event.computed_cost_usd, event.price_version_id) == (Decimal("0.003"), price.id)


def test_a_reported_cost_needs_no_price(send: Send) -> None:
    send({"model": "unheard-of", "input_tokens": 1000, "cost_usd": 0})

    event = only_event()
    assert (event.token_cost_usd, event.unpriced_reason, event.computed_cost_usd) == (0, "", None)


def test_flagged_usage_without_another_cost_is_priced_as_by_the_quote(
    send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_price("m", provider="acme", input="3", output="15")
    event = {"service": "acme", "model": "m", "usage": {"input_tokens": 1000, "output_tokens": 9, "mystery_tokens": 7}}
    send({"id": "quick", **event})
    monkeypatch.setattr(ledger_entries, "_plain_cost", lambda *_: None)
    send({"id": "quoted", **event})

    quick, quoted = UsageEvent.objects.order_by("id")
    columns = ("token_cost_usd", "cost_basis", "cost_source", "price_version_id", "list_cost_usd", "flags", "unpriced")
    assert quick.flags
    assert [getattr(quick, name) for name in columns] == [getattr(quoted, name) for name in columns]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"input_tokens": 1}, "no_model"),
        ({"model": "unheard-of", "input_tokens": 1}, "no_price"),
        ({"service": "elsewhere", "model": "gpt-4o", "input_tokens": 1}, "no_price"),
        ({"service": "acme", "model": "m", "output_tokens": 1}, "no_unit_price"),
        ({"service": "acme", "model": "m"}, "no_usage"),
        ({"service": "acme", "model": "m", "input_tokens": 1, "occurred_at": "2019-12-31T23:59:59Z"}, "no_price"),
    ],
)
def test_unknown_is_not_zero(send: Send, event: dict[str, object], reason: str) -> None:
    set_price("m", provider="acme", input="3")
    send(event)

    assert (only_event().token_cost_usd, only_event().unpriced_reason) == (None, reason)


def test_an_organizations_own_price_is_its_own(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    set_price("m", provider="acme", input="3")
    set_price("m", provider="acme", input="1", organization=organization)
    for each in (organization, other_organization):
        send({"service": "acme", "model": "m", "input_tokens": 1_000_000}, to=each)

    costs = {event.organization_id: event.token_cost_usd for event in UsageEvent.objects.all()}
    assert costs == {organization.pk: 1, other_organization.pk: 3}
