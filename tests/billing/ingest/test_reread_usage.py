"""Reading kept usage again after an upgrade, by adjustments."""

from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from billing.ingest import reread_usage as rereading
from billing.ingest.usage import usage_reader
from billing.ingest.usage.types import UsageReading
from billing.ledger.net_cost import load_adjusted_event
from billing.ledger.reprice import Selection, reprice_step
from billing.models import UnpricedEvent, UsageEvent
from billing.reports.events import explain
from organizations.models import Organization
from tests.usage import NOW, Send, set_price

UNREADABLE = {"tokens_in_a_new_way": 1_000_000}
READ_AT_LAST = UsageReading({"input": 1_000_000, "image_input": 10}, ({"input": 1_000_000, "image_input": 10},))


@pytest.fixture(autouse=True)
def _price(db: None) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")


@pytest.fixture
def upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that understands the object."""

    def read(usage: Any, **options: Any) -> UsageReading:
        return READ_AT_LAST if dict(usage) == UNREADABLE else usage_reader.read_usage(usage, **options)

    monkeypatch.setattr(rereading, "read_usage", read)


def run(**options: Any) -> str:
    output = StringIO()
    call_command("reread_usage", stdout=output, **options)
    return output.getvalue()


def send_unreadable(send: Send, **fields: Any) -> UsageEvent:
    send({"id": "odd", "service": "openai", "model": "gpt-4o", "usage": UNREADABLE, **fields})
    return UsageEvent.objects.get(event_id="odd")


def test_without_an_upgrade_nothing_changes(send: Send) -> None:
    event = send_unreadable(send)
    assert (event.unpriced_reason, event.usage_raw) == ("unreadable_usage", UNREADABLE)
    assert run(apply=True) == "acme: 0 events changed.\n"


@pytest.mark.usefixtures("upgrade")
def test_a_dry_run_says_what_would_change(send: Send) -> None:
    send_unreadable(send)
    output = run()
    assert "openai gpt-4o: unknown -> 2.500025 USD" in output
    assert "acme: 1 events would change" in output
    assert UsageEvent.objects.count() == 1


@pytest.mark.usefixtures("upgrade")
def test_counts_and_cost_are_corrected_once(send: Send, organization: Organization) -> None:
    event = send_unreadable(send)
    run(apply=True)
    adjusted_event = load_adjusted_event(event)
    assert (adjusted_event.cost_usd, adjusted_event.count("input_tokens")) == (Decimal("2.500025"), 1_000_010)
    assert not UnpricedEvent.objects.exists()
    assert run(apply=True) == "acme: 0 events changed.\n"
    assert [line.kind for line in explain(event).quote.lines] == ["input", "image_input"]
    result = reprice_step(
        organization=organization,
        selection=Selection(event.occurred_at, NOW.replace(year=2100)),
        after=None,
        limit=10,
        note={"correction": {}},
        now=NOW,
    )
    assert [(figures.events, figures.changed) for figures in result.figures] == [(1, 0)]


@pytest.mark.usefixtures("upgrade")
def test_a_stated_cost_and_a_correction_of_a_user_stay(send: Send) -> None:
    event = send_unreadable(send, cost_usd="7")
    run(apply=True)
    assert load_adjusted_event(event).cost_usd == 7
    assert load_adjusted_event(event).count("input_tokens") == 1_000_010
