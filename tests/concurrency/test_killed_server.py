"""A web server that dies in the middle of intake loses nothing that it acknowledged, and doubles nothing."""

import threading
from decimal import Decimal

import httpx
import pytest

from billing.models import IngestBatch, Run, UsageEvent
from tests.concurrency.conftest import StartServer
from tests.conftest import Key
from tests.usage import total_cost

pytestmark = pytest.mark.django_db(transaction=True)

PER_BATCH = 200
BATCHES = [
    [{"id": f"b{batch}-e{number}", "cost_usd": "0.01", "run_id": f"run-{batch}"} for number in range(PER_BATCH)]
    for batch in range(60)
]


def test_killed_in_the_middle_of_intake_every_event_is_there_once(start_server: StartServer, key: Key) -> None:
    server = start_server()
    acknowledged: set[int] = set()
    enough = threading.Event()

    def send(batches: range) -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {key.api_key}"}, timeout=30) as client:
            for batch in batches:
                try:
                    response = client.post(f"{server.url}/usage/events", json=BATCHES[batch])
                except httpx.TransportError:
                    continue
                assert response.status_code == 200
                acknowledged.add(batch)
                if len(acknowledged) >= 10:
                    enough.set()

    senders = [threading.Thread(target=send, args=(range(first, 60, 4),)) for first in range(4)]
    for sender in senders:
        sender.start()
    assert enough.wait(60)
    server.kill()
    for sender in senders:
        sender.join(60)

    # What was acknowledged is there, whole; what was not is there whole or not at all.
    assert 10 <= len(acknowledged) < 60, "the server was to die in the middle"
    for batch in range(60):
        stored = UsageEvent.objects.filter(run_id=f"run-{batch}").count()
        assert stored == PER_BATCH if batch in acknowledged else stored in (0, PER_BATCH)

    second = start_server(workers=1)
    with httpx.Client(headers={"Authorization": f"Bearer {key.api_key}"}, timeout=30) as client:
        answers = [client.post(f"{second.url}/usage/events", json=events).json() for events in BATCHES]

    assert all(answer["accepted"] + answer["duplicates"] == PER_BATCH for answer in answers)
    assert UsageEvent.objects.count() == 60 * PER_BATCH
    assert total_cost(UsageEvent.objects.all()) == Decimal("0.01") * 60 * PER_BATCH
    assert sum(IngestBatch.objects.values_list("cost_usd", flat=True)) == Decimal("0.01") * 60 * PER_BATCH
    assert Run.objects.count() == 60
