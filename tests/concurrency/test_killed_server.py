"""A web server that dies in the middle of intake loses nothing that it acknowledged, and doubles nothing."""

import threading
from collections import Counter
from decimal import Decimal

import httpx
import pytest

from billing.models import IngestBatch, Run, UsageEvent
from tests.concurrency.conftest import StartServer
from tests.conftest import Key
from tests.plain_http import NO_TLS
from tests.profiles import choose
from tests.usage import total_cost

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("batches", "size", "clients"), [(40, 100, 4), (choose(160, long=400), 1, 16)], ids=["batches", "events one by one"]
)
def test_killed_in_the_middle_of_intake_every_event_is_there_once(
    start_server: StartServer, key: Key, batches: int, size: int, clients: int
) -> None:
    bodies = [
        [{"id": f"b{batch}-e{number}", "cost_usd": "0.01", "run_id": f"run-{batch}"} for number in range(size)]
        for batch in range(batches)
    ]
    server = start_server()
    acknowledged: set[int] = set()
    kill_once = threading.Lock()

    def send(own: range) -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {key.api_key}"}, timeout=30, verify=NO_TLS) as client:
            for batch in own:
                try:
                    response = client.post(f"{server.url}/usage/events", json=bodies[batch])
                except httpx.TransportError:
                    continue
                assert response.status_code == 200
                acknowledged.add(batch)
                if len(acknowledged) >= batches // 6 and kill_once.acquire(blocking=False):
                    server.kill()

    senders = [threading.Thread(target=send, args=(range(first, batches, clients),)) for first in range(clients)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    # What was acknowledged is there, whole; what was not is there whole or not at all.
    assert batches // 6 <= len(acknowledged) < batches, "the server was to die in the middle"
    stored = Counter(UsageEvent.objects.values_list("run_id", flat=True))
    for batch in range(batches):
        count = stored[f"run-{batch}"]
        assert count == size if batch in acknowledged else count in (0, size)

    second = start_server(workers=1)
    with httpx.Client(headers={"Authorization": f"Bearer {key.api_key}"}, timeout=30, verify=NO_TLS) as client:
        answers = [client.post(f"{second.url}/usage/events", json=events).json() for events in bodies]

    assert all(answer["accepted"] + answer["duplicates"] == size for answer in answers)
    assert UsageEvent.objects.count() == batches * size
    assert total_cost(UsageEvent.objects.all()) == Decimal(batches * size) / 100
    assert sum(IngestBatch.objects.values_list("cost_usd", flat=True)) == Decimal(batches * size) / 100
    assert Run.objects.count() == batches
