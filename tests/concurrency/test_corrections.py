"""Concurrent corrections of the same events are serialized."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from billing.ledger import adjustments, repricings
from billing.ledger.corrections import adjust, void
from billing.ledger.locks import lock_all_corrections
from billing.ledger.net_cost import load_adjusted_event
from billing.ledger.price_unpriced import price_unpriced
from billing.ledger.reprice import Selection, reprice_step
from billing.models import Repricing, UnpricedEvent, UsageEvent
from billing.rollups.fold import fold
from billing.types import CorrectionKind
from costtrack.errors import ConflictError
from costtrack.tenancy import tenant_scope
from organizations.models import Organization
from tests.billing.ledger.test_reprice import DAY, now_costs
from tests.concurrency.conftest import run_concurrently
from tests.usage import NOW, Send, set_price, total_cost

pytestmark = pytest.mark.django_db(transaction=True)


def try_it(correct: Callable[[], object]) -> bool:
    try:
        correct()
    except ConflictError:
        return False
    return True


def test_of_many_voids_at_once_one_takes_the_event_back(organization: Organization, send: Send) -> None:
    send({"cost_usd": "5"})
    event = UsageEvent.objects.get()

    done = run_concurrently(
        lambda number: try_it(
            partial(void, organization=organization, event_id=event.pk, reason="r", actor=f"{number}", now=NOW)
        ),
        range(8),
    )

    assert sorted(done) == [False] * 7 + [True]
    assert total_cost(UsageEvent.objects.of(organization)) == 0
    assert load_adjusted_event(event).count("requests") == 0


def test_adjustments_at_once_leave_the_cost_that_one_of_them_named(organization: Organization, send: Send) -> None:
    send({"model": "new", "input_tokens": 1_000_000})
    event = UsageEvent.objects.get()

    def correct(number: int) -> None:
        adjust(
            organization=organization,
            event_id=event.pk,
            cost_usd=Decimal(number),
            reason="r",
            actor=f"{number}",
            now=NOW,
        )

    run_concurrently(correct, range(1, 9))

    assert total_cost(UsageEvent.objects.of(organization)) in range(1, 9)
    assert load_adjusted_event(event).count("unpriced") == 0


def test_pricing_voiding_and_repricing_the_same_events_leaves_nothing_twice(
    organization: Organization, send: Send
) -> None:
    """Half of the events are voided while others are priced and repriced; the other half remains."""
    send(*({"model": "new", "input_tokens": 1_000_000} for _ in range(200)))
    events = list(UsageEvent.objects.order_by("pk"))
    set_price("new", input="3")
    why: dict[str, Any] = {"organization": organization, "reason": "r", "actor": "a", "now": NOW}

    def void_some(first: int) -> None:
        for event in events[first:100:2]:
            void(event_id=event.pk, **why)

    def reprice() -> None:
        try_it(partial(repricings.reprice, selection=DAY, dry_run=False, progress=lambda _: None, **why))

    def price() -> None:
        for _ in range(5):
            price_unpriced(organization=organization, now=NOW)
            fold(now=NOW)

    work: list[Callable[[], None]] = [partial(void_some, 0), partial(void_some, 1), price, price, reprice]
    run_concurrently(lambda each: each(), work)
    price_unpriced(organization=organization, now=NOW)

    assert not UnpricedEvent.objects.exists()
    for number, event in enumerate(events):
        adjusted_event = load_adjusted_event(event)
        assert adjusted_event.cost_usd == (0 if number < 100 else 3)
        assert adjusted_event.count("requests") == int(number >= 100)
    assert total_cost(UsageEvent.objects.of(organization)) == 300


def test_pricing_an_event_while_another_source_completes_it_prices_it_once(
    organization: Organization, send: Send
) -> None:
    calls = [
        {"model": "new", "input_tokens": 1_000_000, "request_id": f"chatcmpl-{number:010x}Zz"} for number in range(100)
    ]
    send(*calls)
    events = list(UsageEvent.objects.order_by("pk"))
    set_price("new", input="3")

    def complete() -> None:
        for start in range(0, 100, 10):
            send(*({**call, "source": "other", "cost_usd": "5"} for call in calls[start : start + 10]))

    def price() -> None:
        for _ in range(5):
            price_unpriced(organization=organization, now=NOW)

    work: list[Callable[[], None]] = [complete, price]
    run_concurrently(lambda each: each(), work)

    assert not UnpricedEvent.objects.exists()
    assert {load_adjusted_event(event).cost_usd for event in events} == {Decimal(5)}
    assert total_cost(UsageEvent.objects.of(organization)) == 500


def test_two_passes_over_one_period_change_each_event_once(organization: Organization, send: Send) -> None:
    set_price("m", input="3")
    send(*({"service": "a" if number % 2 else "b", "model": "m", "input_tokens": 1_000_000} for number in range(200)))
    now_costs("2")
    note = adjustments.note(CorrectionKind.REPRICE, actor="a", reason="r")

    def pass_over(selection: Selection) -> int:
        changed, after, is_over = 0, None, False
        while not is_over:
            with tenant_scope(organization.pk):
                lock_all_corrections(organization.pk)
                step = reprice_step(
                    organization=organization, selection=selection, after=after, limit=20, note=note, now=NOW
                )
            changed += sum(figures.changed for figures in step.figures)
            after, is_over = step.last, step.last is None
        return changed

    changed = run_concurrently(pass_over, [DAY, Selection(DAY.start, DAY.end, service="a"), DAY])

    assert sum(changed) == 200
    assert total_cost(UsageEvent.objects.of(organization)) == 400


def test_two_workers_at_one_repricing_count_each_event_once(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repricings, "_STEP", 10)
    set_price("m", input="3")
    send(*({"model": "m", "input_tokens": 1_000_000} for _ in range(200)))
    now_costs("2")
    requested = repricings.request_repricing(
        organization=organization, selection=DAY, dry_run=False, reason="r", actor="a", now=NOW
    )

    run_concurrently(lambda _: repricings._run_to_completion(requested, NOW), range(4))

    done = Repricing.objects.get()
    assert (done.events, done.changed, done.old_usd, done.new_usd) == (200, 200, 600, 400)
    assert total_cost(UsageEvent.objects.of(organization)) == 400


def test_summaries_voids_and_prices_at_once_take_each_event_out_of_the_queue_once(
    organization: Organization, send: Send
) -> None:
    sessions = [f"s{number}" for number in range(12)]
    send(*({"session_id": session, "model": "new", "input_tokens": 5} for session in sessions))
    events = list(UsageEvent.objects.order_by("pk"))
    set_price("new", input="3")

    def summarize() -> None:
        for session in sessions:
            send({"session_id": session, "kind": "session_summary", "cost_usd": "1"})

    def void_all() -> None:
        for event in events:
            void(organization=organization, event_id=event.pk, reason="r", actor="a", now=NOW)

    def price() -> None:
        for _ in sessions:
            price_unpriced(organization=organization, now=NOW)

    work: list[Callable[[], None]] = [summarize, void_all, price]
    run_concurrently(lambda each: each(), work)

    assert not UnpricedEvent.objects.exists()
    assert [load_adjusted_event(event).count("unpriced") for event in events] == [0] * 12
