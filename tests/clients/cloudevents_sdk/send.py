"""The CloudEvents SDK: `send.py structured`, `send.py binary` or `send.py batch`."""

import json
import os
import sys
from collections.abc import Iterable

import requests
from calls import call_by_http, event_data
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent


def send(headers: dict[str, str], body: bytes) -> None:
    authorization = {"Authorization": f"Bearer {os.environ['COSTTRACK_TOKEN']}"}
    url = os.environ["COSTTRACK_URL"] + "/events"
    response = requests.post(url, data=body, headers={**headers, **authorization}, timeout=30)
    assert response.status_code == 200, response.text


def events() -> Iterable[CloudEvent]:
    for service, answer in call_by_http(lambda url, body: requests.post(url, json=body, timeout=30).json()):
        attributes = {
            "source": "/billing",
            "type": "llm.usage",
            "subject": "ada",
            "datacontenttype": "application/json",
        }
        yield CloudEvent(attributes, event_data(service, answer))


def main(mode: str) -> None:
    if mode == "batch":
        batch = [json.loads(JSONFormat().write(event)) for event in events()]
        send({"content-type": "application/cloudevents-batch+json"}, json.dumps(batch).encode())
    for event in events() if mode != "batch" else ():
        message = to_binary_event(event) if mode == "binary" else to_structured_event(event)
        for _ in range(2):  # as after a lost response
            send(message.headers, message.body)


if __name__ == "__main__":
    main(*sys.argv[1:])
