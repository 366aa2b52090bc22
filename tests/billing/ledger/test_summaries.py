"""A session summary replaces the session's running totals, by a difference."""

from decimal import Decimal

from django.db.models import Sum

from billing.ledger.price_unpriced import price_unpriced
from billing.models import UnpricedEvent, UsageEvent
from organizations.models import Organization
from tests.usage import NOW, Send, set_price


def totals(organization: Organization, session: str = "s") -> tuple[Decimal, int, int]:
    events = UsageEvent.objects.of(organization).filter(session_id=session)
    counts = events.aggregate(Sum("input_tokens"), Sum("output_tokens"))
    return UsageEvent.objects.filter(pk__in=events).total_cost(), *counts.values()


RUNNING = (
    {"session_id": "s", "cost_usd": "1.00", "input_tokens": 100, "output_tokens": 10},
    {"session_id": "s", "kind": "tool_call", "tool": "build", "cost_usd": "0.50"},
)


def test_a_summary_makes_the_sums_its_own(organization: Organization, send: Send) -> None:
    send(*RUNNING)
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "0.80", "input_tokens": 90, "output_tokens": 12})

    assert totals(organization) == (Decimal("1.30"), 90, 12)  # compute cost was not named and stays


def test_what_a_summary_does_not_name_keeps_running(organization: Organization, send: Send) -> None:
    send(*RUNNING)
    send({"session_id": "s", "kind": "session_summary", "compute_cost_usd": "0.10"})

    assert totals(organization) == (Decimal("1.10"), 100, 10)


def test_the_same_summary_twice_changes_nothing(organization: Organization, send: Send) -> None:
    summary = {"id": "end", "session_id": "s", "kind": "session_summary", "cost_usd": "0.80"}
    send(*RUNNING)
    send(summary)

    assert send(summary).duplicates == 1
    assert send({**summary, "id": None}).accepted == 1
    assert totals(organization)[0] == Decimal("1.30")


def test_a_summary_in_the_same_request_comes_after_its_events(organization: Organization, send: Send) -> None:
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "0.80"}, *RUNNING)

    assert totals(organization)[0] == Decimal("1.30")


def test_late_events_still_count(organization: Organization, send: Send) -> None:
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "0.80"})
    send({"session_id": "s", "cost_usd": "0.05"})

    assert totals(organization)[0] == Decimal("0.85")


def test_other_sessions_are_not_touched(
    organization: Organization, other_organization: Organization, send: Send
) -> None:
    send(*RUNNING, {"session_id": "t", "cost_usd": "7"})
    send(*RUNNING, to=other_organization)
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "0"})

    assert totals(organization, "t")[0] == 7
    assert totals(other_organization)[0] == Decimal("1.50")


def test_a_summary_that_names_the_cost_has_priced_the_session(organization: Organization, send: Send) -> None:
    send({"session_id": "s", "model": "later", "input_tokens": 10})
    send({"session_id": "s", "kind": "session_summary", "cost_usd": "0.80"})
    set_price("later", input="1000000")

    assert not UnpricedEvent.objects.exists()
    assert price_unpriced(organization=organization, now=NOW) == 0
    assert totals(organization)[0] == Decimal("0.80")


def test_a_summary_has_priced_the_events_of_its_own_request_too(organization: Organization, send: Send) -> None:
    send(
        {"session_id": "s", "model": "unheard-of", "input_tokens": 10},
        {"kind": "session_summary", "id": "end", "session_id": "s", "cost_usd": "2"},
    )

    assert not UnpricedEvent.objects.exists()
    set_price("unheard-of", input="1000000")
    assert price_unpriced(organization=organization, now=NOW) == 0
    assert UsageEvent.objects.of(organization).total_cost() == Decimal(2)
    assert UsageEvent.objects.aggregate(Sum("unpriced")) == {"unpriced__sum": 0}
