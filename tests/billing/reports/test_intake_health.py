"""What the operators' health page says of what comes in, and of models without a price."""

import json
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.ingest.quarantine import ingest_or_quarantine
from billing.reports import intake_health
from billing.reports.intake_health import (
    ReceivedCounts,
    count_received,
    intake_checks,
    last_received,
    list_unpriced_groups,
)
from billing.types import UnpricedReason
from costtrack.health import registry
from costtrack.health.registry import Check
from organizations.models import Organization
from tests.billing.ingest.litellm_payloads import payload
from tests.usage import NOW, Send

PRICED = {"model": "gpt-4o", "service": "openai", "cost_usd": "1"}
HOUSE = {"model": "house-13b", "service": "in-house", "input_tokens": 10}


def checks_at(now: datetime, monkeypatch: pytest.MonkeyPatch) -> dict[str, Check]:
    monkeypatch.setattr(intake_health, "utc_now", lambda: now)
    return {check.name: check for check in intake_checks()}


@pytest.mark.django_db
def test_nothing_has_come_in_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert last_received() is None
    checks = checks_at(NOW, monkeypatch)
    assert set(checks) == {"intake", "unpriced"}
    assert (checks["intake"].ok, checks["intake"].state) == (True, "empty")
    assert checks["intake"].details["Last received"] == "never"
    assert (checks["unpriced"].ok, checks["unpriced"].state) == (True, "all priced")


def test_events_of_all_organizations_are_counted_by_when_they_came_in(
    send: Send, other_organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(PRICED, PRICED, now=NOW)
    send(PRICED, to=other_organization, now=NOW - timedelta(minutes=30))
    send(PRICED, PRICED, PRICED, now=NOW - timedelta(hours=20))
    send(PRICED, now=NOW - timedelta(days=2))

    check = checks_at(NOW + timedelta(seconds=1), monkeypatch)["intake"]
    assert (check.ok, check.state) == (True, "receiving")
    assert check.details == {
        "Last minute": "2",
        "Last hour": "3",
        "Last day": "6",
        "Last received": "Nov 2, 2026, 12:00 PM UTC",
    }
    assert checks_at(NOW + timedelta(hours=2), monkeypatch)["intake"].state == "quiet"


def test_what_was_refused_is_reported(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [json.dumps(item).encode() for item in (payload(id="good"), payload(id="bad", response_cost=1e13))]
    ingest_or_quarantine(organization=organization, credential=None, format="litellm", records=records, now=NOW)
    assert count_received(NOW)[0].refused == 1
    assert checks_at(NOW, monkeypatch)["intake"].details["Rejected in the last day"] == "1"


def test_no_more_than_so_many_batches_are_looked_at(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        send(PRICED, now=NOW)
    assert count_received(NOW) == [ReceivedCounts(3, 0, is_all=True)]
    monkeypatch.setattr(intake_health, "MAX_EXAMINED", 2)
    assert count_received(NOW) == [ReceivedCounts(2, 0, is_all=False)]
    assert checks_at(NOW, monkeypatch)["intake"].details["Last minute"] == "at least 2"


def test_models_that_wait_are_named_with_what_to_do_and_where(
    send: Send, organization: Organization, other_organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(HOUSE, HOUSE, {"input_tokens": 5}, now=NOW)
    send(HOUSE, to=other_organization, now=NOW)

    result = [(item.slug, item.title, item.reason, item.events) for item in list_unpriced_groups()]
    assert result == [
        ("acme", "in-house house-13b", UnpricedReason.NO_PRICE, 2),
        ("acme", "No model", UnpricedReason.NO_MODEL, 1),
        ("globex", "in-house house-13b", UnpricedReason.NO_PRICE, 1),
    ]
    checks = checks_at(NOW, monkeypatch)
    assert "unpriced" not in checks
    first, second = checks["unpriced_1"], checks["unpriced_2"]
    assert (first.ok, first.state, first.details["Events"]) == (True, "waiting", "2")
    assert "Set a price" in first.advice
    assert first.links[0].url == "/o/acme/admin/billing/unpricedevent/"
    assert "name the model" in second.advice


def test_no_more_than_so_many_models_are_named(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    send(*({**HOUSE, "model": f"house-{number}"} for number in range(7)), now=NOW)
    assert len(list_unpriced_groups()) == 5
    monkeypatch.setattr(intake_health, "MAX_EXAMINED", 3)
    assert {item.is_all for item in list_unpriced_groups()} == {False}
    assert checks_at(NOW, monkeypatch)["unpriced_1"].details["Events"] == "at least 1"


def test_it_takes_as_many_queries_however_much_there_is(send: Send) -> None:
    counts = []
    for number in (1, 20):
        send(*({**HOUSE, "model": f"house-{number}-{index}"} for index in range(number)), now=NOW)
        with CaptureQueriesContext(connection) as captured:
            intake_checks()
        counts.append(len(captured))
    assert counts == [6, 6]


def test_each_source_has_its_last_event_and_the_share_that_was_not_stored(
    send: Send, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(PRICED, PRICED, now=NOW - timedelta(hours=2))
    records = [json.dumps(item).encode() for item in (payload(id="good"), payload(id="bad", response_cost=1e13))]
    for _ in range(2):
        ingest_or_quarantine(organization=organization, credential=None, format="litellm", records=records, now=NOW)
    checks = checks_at(NOW, monkeypatch)
    assert checks["source_json"].details["Events in the last day"] == "2"
    assert (checks["source_json"].ok, checks["source_json"].state) == (True, "quiet")
    assert checks["source_litellm"].details["Not stored"] == "2 (50.0%)"
    assert checks["source_litellm"].details["Duplicates"] == "1"
    assert (checks["source_litellm"].ok, checks["source_litellm"].state) == (False, "unreadable")


@pytest.mark.django_db
def test_the_health_page_has_them_and_readiness_does_not() -> None:
    assert {"intake", "unpriced"} <= {check.name for check in registry.checks()}
    assert not {"intake", "unpriced"} & {check.name for check in registry.checks(needed_for_requests=True)}
