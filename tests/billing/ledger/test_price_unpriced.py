"""Events without a price are priced, once, when one appears."""

from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing.ledger.price_unpriced import price_unpriced
from billing.models import UnpricedEvent, UsageEvent
from billing.tasks import price_unpriced_task
from organizations.models import Organization
from tests.usage import NOW, Send, set_price, total_cost


def test_a_price_that_appears_prices_what_waited(organization: Organization, send: Send) -> None:
    send({"id": "a", "service": "acme", "model": "new", "input_tokens": 1_000_000, "run_id": "r", "tags": ["x"]})
    price = set_price("new", provider="acme", input="3")

    assert price_unpriced(organization=organization, now=NOW) == 1

    event = UsageEvent.objects.get(event_id="a")
    assert event.token_cost_usd is None  # the row is as it was written
    adjustment = UsageEvent.objects.get(kind="adjustment")
    assert (adjustment.adjusts, adjustment.adjustment_reason) == (event.id, "priced")
    assert (adjustment.token_cost_usd, adjustment.cost_source) == (Decimal(3), "adjusted")
    assert adjustment.price_version_id == price.id
    same = ("run_id", "tags", "service", "model", "occurred_at", "organization_id")
    assert [getattr(adjustment, name) for name in same] == [getattr(event, name) for name in same]
    assert adjustment.input_tokens == 0
    assert not UnpricedEvent.objects.exists()
    assert total_cost(UsageEvent.objects.of(organization)) == Decimal(3)


def test_running_it_again_prices_nothing_twice(organization: Organization, send: Send) -> None:
    send({"model": "new", "input_tokens": 10})
    set_price("new", input="3")

    assert price_unpriced(organization=organization, now=NOW) == 1
    assert price_unpriced(organization=organization, now=NOW) == 0


def test_what_has_no_price_yet_stays_queued(organization: Organization, send: Send) -> None:
    send({"model": "new", "output_tokens": 10}, {"model": "other", "input_tokens": 1}, {"input_tokens": 1})
    set_price("new", input="3")  # has no price of output

    assert price_unpriced(organization=organization, now=NOW) == 0
    assert set(UnpricedEvent.objects.values_list("reason", flat=True)) == {"no_price", "no_model"}


def test_a_call_without_counts_stays_unknown_unless_calls_are_charged(organization: Organization, send: Send) -> None:
    send({"model": "by-token"}, {"model": "by-call"})
    set_price("by-token", input="3")
    set_price("by-call", request="0.02")

    assert price_unpriced(organization=organization, now=NOW) == 1
    assert total_cost(UsageEvent.objects.of(organization)) == Decimal("0.02")


def test_a_priced_model_without_counts_is_unknown_and_a_failed_call_is_free(send: Send) -> None:
    set_price("m", input="3")
    send(
        {"id": "ok", "model": "m"},
        {"id": "failed", "model": "m", "status": "failure"},
        {"id": "zero", "model": "m", "input_tokens": 0},
    )

    known = {event.event_id: (event.token_cost_usd, event.unpriced_reason) for event in UsageEvent.objects.all()}
    assert known == {"ok": (None, "no_usage"), "failed": (0, ""), "zero": (0, "")}


def test_more_than_one_chunk_is_priced(organization: Organization, send: Send) -> None:
    send(*({"model": "new", "input_tokens": 1_000_000} for _ in range(1_500)))
    set_price("new", input="1")

    assert price_unpriced(organization=organization, now=NOW) == 1_500
    assert total_cost(UsageEvent.objects.of(organization)) == 1_500


def test_an_organizations_own_price_prices_only_its_events(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    for each in (organization, other_organization):
        send({"model": "new", "input_tokens": 1_000_000}, to=each)
    set_price("new", input="1", organization=organization)

    assert price_unpriced_task() == 1
    assert UnpricedEvent.objects.get().organization == other_organization


def test_the_command_says_what_it_did(organization: Organization, send: Send) -> None:
    send({"model": "new", "input_tokens": 1}, {"model": "unheard-of", "input_tokens": 1})
    set_price("new", input="1")
    out = StringIO()

    call_command("price_unpriced", organization="acme", stdout=out)

    assert out.getvalue() == "acme: 1 events priced, 1 still unpriced\n"
    with pytest.raises(CommandError, match="no organization nowhere"):
        call_command("price_unpriced", organization="nowhere")
