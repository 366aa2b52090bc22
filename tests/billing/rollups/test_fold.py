"""Folding: each batch once, and reads that do not wait for it."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.models import IngestBatch
from billing.models.rollups import SpendDay, TagDay, UsageHour
from billing.rollups import fold as fold_module
from billing.rollups.definitions import ROLLUPS
from billing.rollups.fold import Folded, fold
from organizations.models import Organization
from tests.usage import NOW, Send, set_price

CALL = {"model": "gpt-4o", "service": "openai", "input_tokens": 1_000_000, "occurred_at": "2026-11-01T10:30:00Z"}


def test_a_batch_is_added_to_the_rollups_once(send: Send) -> None:
    set_price("gpt-4o", input="2.50")
    send({**CALL, "user_id": "ada"}, {**CALL, "user_id": "ada", "occurred_at": "2026-11-01T23:59:59Z"})

    assert fold(now=NOW) == Folded(batches=1, events=2)
    assert fold(now=NOW) == Folded()
    row = SpendDay.objects.get()
    assert (row.day, row.user_ref, row.model, row.credential_id) == (date(2026, 11, 1), "ada", "gpt-4o", 0)
    assert (row.requests, row.input_tokens, row.token_cost_usd) == (2, 2_000_000, Decimal(5))
    assert UsageHour.objects.count() == 2
    assert IngestBatch.objects.get().folded_at == NOW


def test_later_batches_add_to_the_same_row(send: Send) -> None:
    for _ in range(3):
        send(CALL)
        fold(now=NOW)

    assert SpendDay.objects.get().requests == 3


def test_batches_that_are_folded_together_count_once(send: Send) -> None:
    for _ in range(3):
        send(CALL)

    assert fold(now=NOW) == Folded(batches=3, events=3)
    assert SpendDay.objects.get().requests == 3


def test_a_backlog_of_single_events_is_folded_in_few_transactions(send: Send) -> None:
    for _ in range(120):
        send(CALL)
    with CaptureQueriesContext(connection) as captured:
        assert fold(now=NOW) == Folded(batches=120, events=120)
    marked = [query for query in captured.captured_queries if query["sql"].startswith("UPDATE billing_ingestbatch")]
    assert len(marked) == 1


def test_a_transaction_folds_the_oldest_batches_that_fit_and_at_least_one(
    organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_module, "_MAX_EVENTS", 3)
    monkeypatch.setattr(fold_module, "_MAX_BATCHES", 2)
    for second, events in enumerate((1, 2, 1, 4, 1, 1, 1)):
        send(*[CALL] * events, now=NOW + timedelta(seconds=second))
    folded = []
    while (step := fold_module._fold_some(organization.pk, NOW)).batches:
        folded.append((step.batches, step.events))
    assert folded == [(2, 3), (1, 1), (1, 4), (2, 2), (1, 1)]


def test_a_call_counts_under_each_of_its_tags(send: Send) -> None:
    send({**CALL, "tags": ["a", "b"]}, {**CALL, "tags": ["b"]}, CALL)
    fold(now=NOW)

    assert dict(TagDay.objects.values_list("tag", "requests")) == {"a": 1, "b": 2, "": 1}


def test_reads_have_what_is_not_folded_yet(send: Send, organization: Organization) -> None:
    send(CALL)
    fold(now=NOW)
    send(CALL, CALL)

    assert SpendDay.objects.aggregate(requests=Sum("requests")) == {"requests": 1}
    live = SpendDay.live().objects.of(organization).filter(model="gpt-4o")
    assert live.aggregate(requests=Sum("requests")) == {"requests": 3}


def test_organizations_are_folded_apart(
    send: Send, organization: Organization, other_organization: Organization
) -> None:
    send(CALL)
    send(CALL, CALL, to=other_organization)

    assert fold(now=NOW) == Folded(batches=2, events=3)
    assert dict(SpendDay.objects.values_list("organization__slug", "requests")) == {"acme": 1, "globex": 2}


def test_the_example_of_the_page_about_rollups_is_true(api: APIClient) -> None:
    page = (Path(__file__).parents[3] / "docs" / "rollups.md").read_text(encoding="utf-8")
    event = page.partition("```json\n")[2].partition("```")[0]
    set_price("claude-sonnet-4-5", provider="anthropic", input="3", output="15", cache_read="0.30")

    assert api.post("/usage/events", event, content_type="application/json").json()["accepted"] == 1
    assert [tag["total_spend"] for tag in api.get("/spend/tags").json()] == [0.01095, 0.01095]
    assert TagDay.objects.count() == 0
    fold(now=NOW)
    rows = {rollup.name: rollup.model.objects.count() for rollup in ROLLUPS}

    assert f"There are {len(ROLLUPS)} rollups." in page
    assert f"to {sum(map(bool, rows.values()))} rollups, in {sum(rows.values())} rows" in page, rows
    assert TagDay.objects.get(tag="env:prod").token_cost_usd == Decimal("0.01095")
    assert [tag["total_spend"] for tag in api.get("/spend/tags").json()] == [0.01095, 0.01095]
