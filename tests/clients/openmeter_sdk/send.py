"""OpenMeter's SDK: single events, and a batch."""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import uuid4

import requests
from calls import call_by_http, event_data
from openmeter import Client
from openmeter.models import Event


def events() -> Iterable[Event]:
    for service, answer in call_by_http(lambda url, body: requests.post(url, json=body, timeout=30).json()):
        yield Event(
            id=str(uuid4()),
            source="my-app",
            specversion="1.0",
            type="tokens",
            subject="ada",
            time=datetime.now(tz=UTC),
            data=event_data(service, answer),
        )


def main() -> None:
    client = Client(endpoint=os.environ["COSTTRACK_URL"], token=os.environ["COSTTRACK_TOKEN"])
    first, *others = events()
    for _ in range(2):  # as after a lost response
        client.events.ingest_event(first)
        client.events.ingest_events(others)


if __name__ == "__main__":
    main()
