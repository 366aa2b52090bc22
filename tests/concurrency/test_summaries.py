"""A session's summary against the pricing of its events at the same moment."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.ledger.price_unpriced import price_unpriced
from billing.models import Session, UnpricedEvent
from organizations.models import Organization
from tests.concurrency.conftest import run_concurrently
from tests.usage import NOW, Send, set_price

SESSIONS = 60


@pytest.mark.django_db(transaction=True)
def test_a_session_costs_what_its_summary_says_in_any_order_of_arrival(organization: Organization, send: Send) -> None:
    send(*({"session_id": f"s{n}", "model": "later", "input_tokens": 10} for n in range(SESSIONS)))
    set_price("later", input="1000000")

    def summarize() -> None:
        for number in range(SESSIONS):
            send({"kind": "session_summary", "id": f"end-{number}", "session_id": f"s{number}", "cost_usd": "2"})

    def price() -> None:
        price_unpriced(organization=organization, now=NOW)

    work: list[Callable[[], None]] = [summarize, price]
    run_concurrently(lambda function: function(), work)

    sessions = Session.live().objects.filter(organization=organization).values("session_id")
    totals = sessions.annotate(cost=Sum("token_cost_usd"), pending=Sum("unpriced")).order_by()
    assert len(totals) == SESSIONS
    assert {(row["cost"], row["pending"]) for row in totals} == {(Decimal(2), 0)}
    assert not UnpricedEvent.objects.exists()
