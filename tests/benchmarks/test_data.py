"""What the benchmarks work on is what the product itself could have written, or been sent."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db.models import Max, Min, Sum
from rest_framework.test import APIClient

from benchmarks.data import fill
from benchmarks.load import new_events
from billing.models import EventKey, IngestBatch, Run, UnpricedEvent, UsageEvent
from billing.models.rollups import UsageHour
from billing.reports.events import explain
from billing.reports.runs import get_run_costs
from billing.rollups.verify import verify
from costtrack.clock import utc_now
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import make_key

EVENTS = 1_200


@pytest.fixture(scope="module", autouse=True)
def prices(shared_transaction: None) -> None:
    call_command("import_prices", verbosity=0, stdout=StringIO())


@pytest.fixture(scope="module")
def filled(prices: None) -> None:
    for slug in ("acme", "globex"):
        make_key(Organization.objects.create(slug=slug, name=slug.title()), *Scope)
    fill(events=EVENTS, now=utc_now(), batch=100, threads=1)


@pytest.mark.usefixtures("filled")
def test_rollups_and_ledger_agree_and_everything_is_folded(
    organization: Organization, other_organization: Organization
) -> None:
    for organization_filled in (organization, other_organization):
        assert not any(checked.count for checked in verify(organization_id=organization_filled.pk, now=utc_now()))
        assert UsageEvent.objects.of(organization_filled).count() == EVENTS / 2
    assert UsageHour.objects.aggregate(events=Sum("requests"))["events"] == EVENTS
    assert not IngestBatch.objects.filter(folded_at=None).exists()
    assert EventKey.objects.count() == EVENTS


@pytest.mark.usefixtures("filled", "db")
def test_each_filled_event_costs_what_its_price_says() -> None:
    for event in UsageEvent.objects.order_by("id")[:50]:
        assert event.token_cost_usd
        assert explain(event).quote.total_usd == event.token_cost_usd


@pytest.mark.usefixtures("filled", "db")
def test_batches_know_their_sums_and_events_are_spread_over_a_year() -> None:
    ledger = UsageEvent.objects.aggregate(cost=Sum("token_cost_usd"), first=Min("received_at"), last=Max("received_at"))
    batches = IngestBatch.objects.aggregate(cost=Sum("cost_usd"), accepted=Sum("accepted"))

    assert batches == {"cost": ledger["cost"], "accepted": EVENTS}
    assert ledger["last"] - ledger["first"] > timedelta(days=300)


@pytest.mark.usefixtures("filled")
def test_runs_make_trees(organization: Organization) -> None:
    child = Run.objects.of(organization).exclude(parent_run_id="").order_by("id").first()
    assert child is not None

    costs = [
        get_run_costs(
            organization=organization, run_id=child.parent_run_id, include_children=include_children, now=utc_now()
        ).total
        for include_children in (False, True)
    ]

    assert 0 < costs[0] < costs[1]


def test_what_is_sent_is_new_and_has_prices(api: APIClient, organization: Organization) -> None:
    first, second = (api.post("/usage/events", {"events": new_events(120)}).json() for _ in range(2))

    assert (first["accepted"], second["accepted"]) == (120, 120)
    assert not UnpricedEvent.objects.of(organization).exists()
