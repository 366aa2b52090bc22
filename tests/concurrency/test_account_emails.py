"""An invitation while Redis is really stopped: accepted, and sent when Redis is back."""

from http import HTTPStatus

import httpx
from django.core import mail

from costtrack.beat_schedule import SCHEDULE
from costtrack.celery import app
from tests.concurrency.conftest import StartServer
from tests.conftest import Key
from tests.plain_http import NO_TLS
from tests.redis_server import RedisServer


def test_an_invitation_outlives_an_outage_of_redis(
    key: Key, start_server: StartServer, redis_server: RedisServer, all_tasks: None
) -> None:
    server = start_server(workers=1, REDIS_URL=redis_server.url)
    redis_server.stop()
    with httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {key.api_key}"}, timeout=30, verify=NO_TLS
    ) as client:
        answer = client.post("/organizations/acme/members", json={"email": "new@acme.example", "role": "viewer"})
        assert answer.status_code == HTTPStatus.CREATED, answer.text
    redis_server.start()

    app.tasks[SCHEDULE["deliver-account-email"]["task"]].apply(throw=True)  # what beat sends
    assert [message.to for message in mail.outbox] == [["new@acme.example"]]
