"""Pages and endpoints about single events, when what they point to was dropped."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from billing.ledger.price_unpriced import price_unpriced
from billing.models import EventKey, IngestBatch, UsageEvent
from billing.rollups.retention import drop_events
from organizations.models import Organization, User
from tests.usage import NOW, Send, set_price

# The events are older than the history of some plans.
pytestmark = pytest.mark.usefixtures("whole_history")

AUGUST, OCTOBER = datetime(2026, 8, 20, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)


@pytest.fixture
def adjustment(send: Send, organization: Organization) -> UsageEvent:
    """It has brought the price of an event that is gone."""
    send({"id": "gone", "model": "late", "input_tokens": 1_000_000, "occurred_at": AUGUST.isoformat()}, now=AUGUST)
    set_price("late", input="2", request="1")
    price_unpriced(organization=organization, now=NOW)
    drop_events(before=OCTOBER, actor="tests", now=NOW, report=lambda _: None)
    return UsageEvent.objects.get()


def test_the_api_shows_the_adjustment_without_an_unverifiable_calculation(
    adjustment: UsageEvent, api: APIClient
) -> None:
    response = api.get(f"/usage/events/{adjustment.pk}")
    assert response.status_code == 200
    body = response.json()
    assert body["adjusts"] == str(adjustment.adjusts)
    assert body["lines"] == []
    assert api.get(f"/usage/events/{adjustment.adjusts}").status_code == 404
    assert api.get("/usage/events", {"event_id": "gone"}).json()["results"] == []
    assert EventKey.objects.count() == 1


def test_the_admin_shows_the_adjustment_and_says_that_its_event_is_gone(
    adjustment: UsageEvent, owner: User, client: Client
) -> None:
    client.force_login(owner)
    page = client.get(reverse("admin:billing_usageevent_change", args=[adjustment.pk]))
    assert page.status_code == 200
    assert "no longer stored" in page.content.decode()
    changelist = reverse("admin:billing_usageevent_changelist")
    assert client.get(changelist, {"q": "gone"}).status_code == 200
    for batch in IngestBatch.objects.all():
        assert client.get(reverse("admin:billing_ingestbatch_change", args=[batch.pk])).status_code == 200
        assert client.get(changelist, {"batch": str(batch.pk)}).status_code == 200
    assert client.get(reverse("admin:billing_unpricedevent_changelist")).status_code == 200
