"""The same events at the same moment, on many connections: each is stored once."""

import random
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pytest_django.live_server_helper import LiveServer

from billing.ledger.price_unpriced import price_unpriced
from billing.models import IngestBatch, Run, UsageEvent
from costtrack.clock import utc_now
from organizations.models import Organization
from tests.concurrency.conftest import run_concurrently
from tests.conftest import Key
from tests.plain_http import NO_TLS
from tests.usage import NOW, Send, set_price, total_cost

pytestmark = pytest.mark.django_db(transaction=True)


def post(url: str, key: Key, events: list[dict[str, Any]]) -> dict[str, Any]:
    response = httpx.post(
        f"{url}/usage/events",
        json=events,
        headers={"Authorization": f"Bearer {key.api_key}"},
        timeout=60,
        verify=NO_TLS,
    )
    return {"status": response.status_code, **response.json()}


def test_sixteen_connections_with_the_same_thousand_events_store_a_thousand(live_server: LiveServer, key: Key) -> None:
    events = [{"id": f"e{number}", "model": "m", "cost_usd": "0.001"} for number in range(1_000)]

    answers = run_concurrently(lambda _: post(live_server.url, key, events), range(16))

    assert {answer["status"] for answer in answers} == {200}
    assert sum(answer["accepted"] for answer in answers) == 1_000
    assert sum(answer["duplicates"] for answer in answers) == 15_000
    assert UsageEvent.objects.count() == 1_000
    assert total_cost(UsageEvent.objects.all()) == Decimal(1)


def test_overlapping_requests_in_any_order_neither_deadlock_nor_double(live_server: LiveServer, key: Key) -> None:
    events = [
        {"id": f"e{number}", "cost_usd": "1", "run_id": f"run-{number % 40}", "parent_run_id": f"run-{number % 7}"}
        for number in range(400)
    ]

    def shuffled(seed: int) -> dict[str, Any]:
        return post(live_server.url, key, random.Random(seed).sample(events, 300))

    answers = run_concurrently(shuffled, range(12))

    assert {answer["status"] for answer in answers} == {200}
    stored = set(UsageEvent.objects.values_list("event_id", flat=True))
    assert UsageEvent.objects.count() == len(stored) == sum(answer["accepted"] for answer in answers)
    assert Run.objects.count() == 40
    assert sum(IngestBatch.objects.values_list("cost_usd", flat=True)) == len(stored)


def test_of_two_contents_under_one_id_exactly_one_is_stored(live_server: LiveServer, key: Key) -> None:
    answers = run_concurrently(
        lambda number: post(live_server.url, key, [{"id": "same", "input_tokens": number}]), list(range(16))
    )

    assert sorted(answer["accepted"] for answer in answers) == [0] * 15 + [1]
    assert sum(answer["conflicts"] for answer in answers) == 15
    assert {answer["status"] for answer in answers} == {200, 422}


def test_summaries_of_one_session_come_one_after_the_other(organization: Organization, send: Send) -> None:
    send({"session_id": "s", "cost_usd": "5"}, {"session_id": "t", "cost_usd": "5"})

    def summarize(number: int) -> None:
        order = ["s", "t"] if number % 2 else ["t", "s"]
        send(*({"session_id": name, "kind": "session_summary", "cost_usd": str(number)} for name in order))

    run_concurrently(summarize, range(1, 9))

    for session in ("s", "t"):
        total = UsageEvent.objects.of(organization).filter(session_id=session)
        assert sum(event.token_cost_usd or 0 for event in total) in range(1, 9)


def test_four_workers_price_each_unpriced_event_once(organization: Organization, send: Send) -> None:
    send(*({"model": "new", "input_tokens": 1_000_000} for _ in range(3_000)), now=NOW)
    set_price("new", input="1")

    priced = run_concurrently(lambda _: price_unpriced(organization=organization, now=utc_now()), range(4))

    # A worker passes over what another one holds, so the last ones may find nothing.
    price_unpriced(organization=organization, now=utc_now())
    assert sum(priced) <= 3_000
    assert total_cost(UsageEvent.objects.of(organization)) == 3_000
    assert UsageEvent.objects.filter(kind="adjustment").count() == 3_000
